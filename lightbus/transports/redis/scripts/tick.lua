-- Gives a tick (Unix time in ms) of a schedule to a holder, unless it or a later one was given out before. With a lease
-- above 0 ms, nobody gets it while somebody else holds that of an earlier one. Where it catches up, it is given out
-- only where an earlier one was. The last tick is remembered for `kept` ms.
-- Returns 'ours', 'had' or 'busy'; or 'early' for a tick of more than 10 s ahead of Redis's clock. One that is
-- remembered from so far ahead, and a run's lease from a minute ahead, are of before that clock was set back.
-- That it is remembered comes first, as a rehearsal, and so that it is done even where Redis is out of memory.
local schedule = KEYS[1]
local holder, tick, lease, kept, catches_up = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local known = redis.call('HMGET', schedule, 'tick', 'holder', 'until', 'runner')
local at, span = tonumber(tick), tonumber(lease)
local last, running = tonumber(known[1]), tonumber(known[3]) or 0
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
if at > now + 10000 then
  return 'early'
end
if last and last > now + 10000 then
  last = nil
end
if last and at == last and known[2] == holder then
  return 'ours'
end
if last and at <= last then
  return 'had'
end
local outcome = 'ours'
if not known[1] and catches_up == '1' then
  outcome = 'had'
elseif span > 0 and running > now and known[4] ~= holder then
  outcome = 'busy'
end
redis.call('PEXPIRE', schedule, kept)
if outcome == 'busy' and running > now + 60000 then
  redis.call('HSET', schedule, 'until', string.format('%.0f', now + span))
end
redis.call('HSET', schedule, 'tick', tick, 'holder', outcome == 'ours' and holder or '')
if outcome == 'ours' and span > 0 then
  redis.call('HSET', schedule, 'runner', holder, 'until', string.format('%.0f', now + span))
end
redis.call('PEXPIRE', schedule, kept)
return outcome
