-- Publishes the contract ARGV[1] under KEYS[1] for ARGV[2] seconds, and notes in the sorted set KEYS[2] that
-- the publisher ARGV[3] stands for it that long. Returns 1 where another contract was there although nobody
-- else stands for one: then it comes from a Lightbus 1.x, which keeps no such note.
local time = redis.call('TIME')
local now = tonumber(time[1])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
redis.call('ZREM', KEYS[2], ARGV[3])
local before = redis.call('GET', KEYS[1])
local alone = redis.call('ZCARD', KEYS[2]) == 0
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
redis.call('ZADD', KEYS[2], now + tonumber(ARGV[2]), ARGV[3])
redis.call('EXPIRE', KEYS[2], ARGV[2])
if before and before ~= ARGV[1] and alone then
  return 1
end
return 0
