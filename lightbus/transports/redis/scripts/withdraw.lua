-- Strikes the publisher ARGV[2] off the sorted set KEYS[2], and removes the contract KEYS[1] where it is still the
-- one that this publisher stored, ARGV[1], and nobody else stands for the same: the names of those end with
-- ARGV[3]. Whoever stands for another one publishes it soon. Returns 1 where it is removed.
local time = redis.call('TIME')
redis.call('ZREM', KEYS[2], ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', time[1] + time[2] / 1000000)
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
for _, name in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
  if string.sub(name, -#ARGV[3]) == ARGV[3] then
    return 0
  end
end
return redis.call('DEL', KEYS[1])
