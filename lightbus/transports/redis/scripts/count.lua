-- Returns how many entries of the stream KEYS[1] come after the id ARGV[1]; counts no further than past ARGV[2].
local count, after = 0, ARGV[1]
repeat
  local page = redis.call('XRANGE', KEYS[1], '(' .. after, '+', 'COUNT', 100)
  count = count + #page
  if #page > 0 then
    after = page[#page][1]
  end
until #page < 100 or count > tonumber(ARGV[2])
return count
