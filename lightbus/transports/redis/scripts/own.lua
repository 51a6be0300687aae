-- Makes a process of a service hold an API for `lease` milliseconds, unless another service holds it. The sorted set
-- `owners` has "service\nprocess" by the time until which each holds it, so that what a crashed process held comes free
-- by itself; its own end is moved before, too, as a rehearsal.
-- The member '' has the time of the last look: where that is to come, Redis's clock was set back since, and all that
-- the set says is moved along.
-- Returns the name of the service that holds it now.
local owners = KEYS[1]
local service, process, lease = ARGV[1], ARGV[2], ARGV[3]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local known, ahead = redis.call('ZRANGE', owners, 0, -1, 'WITHSCORES'), 0
for i = 1, #known, 2 do
  if known[i] == '' then
    ahead = known[i + 1] - now
  end
end
redis.call('ZREMRANGEBYSCORE', owners, '-inf', now)
if ahead > 0 then
  for i = 1, #known, 2 do
    redis.call('ZADD', owners, known[i + 1] - ahead, known[i])
  end
  redis.call('ZREMRANGEBYSCORE', owners, '-inf', now)
end
local first = redis.call('ZRANGE', owners, 0, 0)[1]
local holder = first and string.match(first, '^(.-)\n') or service
if holder == service then
  redis.call('PEXPIRE', owners, lease)
  redis.call('ZADD', owners, now + lease, service .. '\n' .. process)
  redis.call('PEXPIRE', owners, lease)
end
redis.call('ZADD', owners, now, '')
return holder
