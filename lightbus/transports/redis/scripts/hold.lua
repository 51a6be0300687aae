-- Renews for ARGV[2] ms the lease of the run of the schedule KEYS[1] that ARGV[1] does, or ends it with 0 ms. The
-- schedule is remembered for ARGV[3] ms; this comes first, so that it is done even where Redis is out of memory.
-- Returns 1, or 0 where somebody else runs it by now.
if redis.call('HGET', KEYS[1], 'runner') ~= ARGV[1] then
  return 0
end
local lease, till = tonumber(ARGV[2]), 0
if lease > 0 then
  local time = redis.call('TIME')
  till = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) + lease
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('HSET', KEYS[1], 'until', string.format('%.0f', till))
return 1
