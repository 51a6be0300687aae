-- Strikes a publisher off the sorted set `publishers`, and removes the contract where it is still the one that this
-- publisher stored, and nobody else stands for the same: the names of those end with its digest. Whoever stands for
-- another one publishes it soon. Returns 1 where it is removed.
-- The contract goes first: one without a publisher would be taken for that of a Lightbus 1.x.
local contract, publishers = KEYS[1], KEYS[2]
local blob, publisher, digest = ARGV[1], ARGV[2], ARGV[3]
local time = redis.call('TIME')
local removed = 0
if redis.call('GET', contract) == blob then
  local is_shared = false
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', publishers, time[1] + time[2] / 1000000, '+inf')) do
    is_shared = is_shared or (name ~= publisher and string.sub(name, -#digest) == digest)
  end
  if not is_shared then
    removed = redis.call('DEL', contract)
  end
end
redis.call('ZREM', publishers, publisher)
return removed
