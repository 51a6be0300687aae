-- Adds an event of the fields ARGV[2..] to the stream KEYS[1], unless one with its id was added within the last
-- ARGV[1] milliseconds: then KEYS[2] holds that one's id in the stream. Returns the id in the stream.
-- Rehearsed: what is stored is remembered, so that it is not stored again where its sender was refused.
local known = redis.call('GET', KEYS[2])
if known then
  return known
end
local fields = {}
for i = 2, #ARGV do
  fields[#fields + 1] = ARGV[i]
end
redis.call('SET', KEYS[2], '', 'XX', 'PX', ARGV[1])
local id = redis.call('XADD', KEYS[1], '*', unpack(fields))
redis.call('SET', KEYS[2], id, 'PX', ARGV[1])
return id
