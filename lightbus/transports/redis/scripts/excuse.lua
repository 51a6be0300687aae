-- Counts one delivery less of entries of a stream that a consumer still holds: its process was told to end, so that
-- its death says nothing of them.
local source = KEYS[1]
local group, consumer = ARGV[1], ARGV[2]
for i = 3, #ARGV do -- ids
  local id = ARGV[i]
  local held = redis.call('XPENDING', source, group, id, id, 1, consumer)[1]
  if held then
    redis.call('XCLAIM', source, group, consumer, 0, id, 'RETRYCOUNT', math.max(0, held[4] - 1), 'JUSTID')
  end
end
return 1
