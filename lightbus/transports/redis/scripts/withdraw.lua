-- Strikes the publisher ARGV[2] off the sorted set KEYS[2], and removes the contract KEYS[1] where nobody else
-- stands for it and it is still the one that this publisher stored, ARGV[1]. Returns 1 where it is removed.
redis.call('ZREM', KEYS[2], ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', redis.call('TIME')[1])
if redis.call('ZCARD', KEYS[2]) > 0 or redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
return redis.call('DEL', KEYS[1])
