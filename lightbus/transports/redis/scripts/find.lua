-- Looks for events with the ids ARGV[5..] among at most ARGV[3] entries of the stream KEYS[1], from the id ARGV[1]
-- backwards to the id ARGV[2].
-- Returns the id of the last entry that it looked at, empty where there is none beyond; 1 where that entry is
-- older than ARGV[4] milliseconds, else 0; and the event ids that it found, each followed by its entry's id.
local wanted, found = {}, {}
for i = 5, #ARGV do
  wanted[ARGV[i]] = true
end
local entries = redis.call('XREVRANGE', KEYS[1], ARGV[1], ARGV[2], 'COUNT', ARGV[3])
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
if #entries < tonumber(ARGV[3]) then
  return {'', 1, found}
end
local last, now = entries[#entries][1], redis.call('TIME')
local age = now[1] * 1000 + now[2] / 1000 - tonumber(string.match(last, '^%d+'))
return {last, age > tonumber(ARGV[4]) and 1 or 0, found}
