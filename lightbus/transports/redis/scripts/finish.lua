-- Acknowledges the entries ARGV[4..] of the group ARGV[1] in the stream KEYS[1], and remembers for ARGV[2]
-- milliseconds that the events of the keys KEYS[2..] were handled. ARGV[3] is 1 where KEYS[1] is the group's own
-- retry stream, from which the entries are deleted.
-- Rehearsed: what is acknowledged is remembered, and what is deleted is not pending.
redis.call('XACK', KEYS[1], ARGV[1], '0-0')
if ARGV[3] == '1' then
  redis.call('XDEL', KEYS[1], '0-0')
end
for i = 2, #KEYS do
  redis.call('SET', KEYS[i], '1', 'NX', 'PX', ARGV[2])
end
for i = 4, #ARGV do
  redis.call('XACK', KEYS[1], ARGV[1], ARGV[i])
  if ARGV[3] == '1' then
    redis.call('XDEL', KEYS[1], ARGV[i])
  end
end
return {}
