-- Publishes a contract for some seconds, and notes in the sorted set `publishers` that a publisher stands for it that
-- long. A renewal never replaces another contract: that comes from a process that was started later.
-- Returns 1 where another contract was there although nobody else stands for one: then it comes from a
-- Lightbus 1.x, which keeps no such note. The note comes first: a contract without one would be taken for theirs,
-- while one of a contract that is not there says nothing. That it expires is rehearsed.
local contract, publishers = KEYS[1], KEYS[2]
local blob, seconds, publisher, is_renewal = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local before = redis.call('GET', contract)
local other = before and before ~= blob
redis.call('ZREMRANGEBYSCORE', publishers, '-inf', now)
redis.call('EXPIRE', publishers, seconds)
redis.call('ZADD', publishers, now + seconds, publisher)
local alone = redis.call('ZCARD', publishers) == 1
if not (other and is_renewal == '1') then
  redis.call('SET', contract, blob, 'EX', seconds)
end
redis.call('EXPIRE', publishers, seconds)
if other and alone then
  return 1
end
return 0
