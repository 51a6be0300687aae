-- Returns how many entries of a stream come after an id; counts no further than past `most`.
local stream = KEYS[1]
local after, most = ARGV[1], ARGV[2]
local count = 0
repeat
  local page = redis.call('XRANGE', stream, '(' .. after, '+', 'COUNT', 100)
  count = count + #page
  if #page > 0 then
    after = page[#page][1]
  end
until #page < 100 or count > tonumber(most)
return count
