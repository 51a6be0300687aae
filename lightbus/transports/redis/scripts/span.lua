-- Goes through up to `most` entries of a stream, after one id and up to another.
-- Returns the id of the last one, empty where there is none, and the id of each one's event, empty where it has none.
local stream = KEYS[1]
local after, till, most = ARGV[1], ARGV[2], ARGV[3]
local entries = redis.call('XRANGE', stream, '(' .. after, till, 'COUNT', most)
local found = {#entries > 0 and entries[#entries][1] or ''}
for i, entry in ipairs(entries) do
  local fields = entry[2]
  found[i + 1] = ''
  for j = 1, #fields, 2 do
    if fields[j] == 'id' then
      found[i + 1] = fields[j + 1]
      break
    end
  end
end
return found
