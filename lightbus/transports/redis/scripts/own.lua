-- Makes the process ARGV[2] of the service ARGV[1] hold an API for ARGV[3] milliseconds, unless another service
-- holds it. KEYS[1] is a sorted set of "service\nprocess" by the time until which each holds it, so that what a
-- crashed process held comes free by itself; its own end is moved before, too, as a rehearsal.
-- The member '' has the time of the last look: where that is to come, Redis's clock was set back since, and all that
-- the set says is moved along.
-- Returns the name of the service that holds it now.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local known, ahead = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES'), 0
for i = 1, #known, 2 do
  if known[i] == '' then
    ahead = known[i + 1] - now
  end
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if ahead > 0 then
  for i = 1, #known, 2 do
    redis.call('ZADD', KEYS[1], known[i + 1] - ahead, known[i])
  end
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
end
local first = redis.call('ZRANGE', KEYS[1], 0, 0)[1]
local holder = first and string.match(first, '^(.-)\n') or ARGV[1]
if holder == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[1] .. '\n' .. ARGV[2])
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
redis.call('ZADD', KEYS[1], now, '')
return holder
