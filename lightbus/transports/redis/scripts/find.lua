-- Looks for events by their ids among at most `most` entries of a stream, from the newest backwards to the oldest.
-- Returns the id of the last entry that it looked at, empty where there is none beyond; 1 where that entry is
-- older than `age` milliseconds, else 0; and the event ids that it found, each followed by its entry's id.
local stream = KEYS[1]
local newest, oldest, most, age = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local wanted, found = {}, {}
for i = 5, #ARGV do -- ids
  wanted[ARGV[i]] = true
end
local entries = redis.call('XREVRANGE', stream, newest, oldest, 'COUNT', most)
for _, entry in ipairs(entries) do
  local fields = entry[2]
  for i = 1, #fields, 2 do
    if fields[i] == 'id' then
      if wanted[fields[i + 1]] then
        found[#found + 1] = fields[i + 1]
        found[#found + 1] = entry[1]
      end
      break
    end
  end
end
if #entries < tonumber(most) then
  return {'', 1, found}
end
local last, now = entries[#entries][1], redis.call('TIME')
local is_old = now[1] * 1000 + now[2] / 1000 - tonumber(string.match(last, '^%d+')) > tonumber(age)
return {last, is_old and 1 or 0, found}
