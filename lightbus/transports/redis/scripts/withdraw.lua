-- Strikes the publisher ARGV[2] off the sorted set KEYS[2], and removes the contract KEYS[1] where it is still the
-- one that this publisher stored, ARGV[1], and nobody else stands for the same: the names of those end with
-- ARGV[3]. Whoever stands for another one publishes it soon. Returns 1 where it is removed.
-- The contract goes first: one without a publisher would be taken for that of a Lightbus 1.x.
local time = redis.call('TIME')
local removed = 0
if redis.call('GET', KEYS[1]) == ARGV[1] then
  local is_shared = false
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], time[1] + time[2] / 1000000, '+inf')) do
    is_shared = is_shared or (name ~= ARGV[2] and string.sub(name, -#ARGV[3]) == ARGV[3])
  end
  if not is_shared then
    removed = redis.call('DEL', KEYS[1])
  end
end
redis.call('ZREM', KEYS[2], ARGV[2])
return removed
