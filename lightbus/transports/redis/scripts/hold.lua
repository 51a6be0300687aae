-- Renews for `lease` ms the lease of the run of a schedule that the holder does, or ends it with 0 ms. The schedule is
-- remembered for `kept` ms; this comes first, so that it is done even where Redis is out of memory.
-- Returns 1, or 0 where somebody else runs it by now.
local schedule = KEYS[1]
local holder, lease, kept = ARGV[1], ARGV[2], ARGV[3]
if redis.call('HGET', schedule, 'runner') ~= holder then
  return 0
end
local till = 0
if tonumber(lease) > 0 then
  local time = redis.call('TIME')
  till = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) + tonumber(lease)
end
redis.call('PEXPIRE', schedule, kept)
redis.call('HSET', schedule, 'until', string.format('%.0f', till))
return 1
