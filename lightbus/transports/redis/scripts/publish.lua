-- Publishes the contract ARGV[1] under KEYS[1] for ARGV[2] seconds, and notes in the sorted set KEYS[2] that
-- the publisher ARGV[3] stands for it that long. ARGV[4] is 1 for a renewal, which never replaces another
-- contract: that comes from a process that was started later.
-- Returns 1 where another contract was there although nobody else stands for one: then it comes from a
-- Lightbus 1.x, which keeps no such note. The note comes first: a contract without one would be taken for theirs,
-- while one of a contract that is not there says nothing. That it expires is rehearsed.
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local before = redis.call('GET', KEYS[1])
local other = before and before ~= ARGV[1]
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
redis.call('EXPIRE', KEYS[2], ARGV[2])
redis.call('ZADD', KEYS[2], now + ARGV[2], ARGV[3])
local alone = redis.call('ZCARD', KEYS[2]) == 1
if not (other and ARGV[4] == '1') then
  redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
end
redis.call('EXPIRE', KEYS[2], ARGV[2])
if other and alone then
  return 1
end
return 0
