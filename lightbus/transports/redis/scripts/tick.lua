-- Gives the tick ARGV[2] (Unix time in ms) of the schedule KEYS[1] to ARGV[1], unless it or a later one was given
-- out before. With a lease of ARGV[3] ms, above 0, nobody gets it while somebody else holds that of an earlier one.
-- With ARGV[5] = 1 it is given out only where an earlier one was. The last tick is remembered for ARGV[4] ms.
-- Returns 'ours', 'had' or 'busy'; or 'early' for a tick of more than 10 s ahead of Redis's clock. One that is
-- remembered from so far ahead, and a run's lease from a minute ahead, are of before that clock was set back.
-- That it is remembered comes first, as a rehearsal, and so that it is done even where Redis is out of memory.
local known = redis.call('HMGET', KEYS[1], 'tick', 'holder', 'until', 'runner')
local tick, lease = tonumber(ARGV[2]), tonumber(ARGV[3])
local last, running = tonumber(known[1]), tonumber(known[3]) or 0
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
if tick > now + 10000 then
  return 'early'
end
if last and last > now + 10000 then
  last = nil
end
if last and tick == last and known[2] == ARGV[1] then
  return 'ours'
end
if last and tick <= last then
  return 'had'
end
local outcome = 'ours'
if not known[1] and ARGV[5] == '1' then
  outcome = 'had'
elseif lease > 0 and running > now and known[4] ~= ARGV[1] then
  outcome = 'busy'
end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
if outcome == 'busy' and running > now + 60000 then
  redis.call('HSET', KEYS[1], 'until', string.format('%.0f', now + lease))
end
redis.call('HSET', KEYS[1], 'tick', ARGV[2], 'holder', outcome == 'ours' and ARGV[1] or '')
if outcome == 'ours' and lease > 0 then
  redis.call('HSET', KEYS[1], 'runner', ARGV[1], 'until', string.format('%.0f', now + lease))
end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return outcome
