-- Counts one delivery less of the entries ARGV[3..] of the stream KEYS[1] that the consumer ARGV[2] of the group
-- ARGV[1] still holds: its process was told to end, so that its death says nothing of them.
for i = 3, #ARGV do
  local held = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1, ARGV[2])[1]
  if held then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'RETRYCOUNT', math.max(0, held[4] - 1), 'JUSTID')
  end
end
return 1
