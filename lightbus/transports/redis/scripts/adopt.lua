-- Makes the consumer ARGV[2] of the group ARGV[1] hold the entries ARGV[3..] of the stream KEYS[1], which it has read
-- from a group of this name that was destroyed since; but none that somebody else holds by now.
for i = 3, #ARGV do
  if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1) == 0 then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'FORCE', 'JUSTID')
  end
end
return 1
