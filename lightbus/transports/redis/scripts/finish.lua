-- Acknowledges the entries ARGV[4..] of the group ARGV[1] in the stream KEYS[1], and remembers for ARGV[2]
-- milliseconds that the events of the keys KEYS[2..] were handled. ARGV[3] is 1 where KEYS[1] is the group's own
-- retry stream, from which the entries are deleted.
-- The acknowledgement comes first, so that the script finishes even where Redis is out of memory.
for i = 4, #ARGV do
  redis.call('XACK', KEYS[1], ARGV[1], ARGV[i])
  if ARGV[3] == '1' then
    redis.call('XDEL', KEYS[1], ARGV[i])
  end
end
for i = 2, #KEYS do
  redis.call('SET', KEYS[i], '1', 'NX', 'PX', ARGV[2])
end
return {}
