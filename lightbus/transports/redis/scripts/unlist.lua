-- Takes the names ARGV out of the set KEYS[1] of all APIs, but for those whose contract is there by now, under the
-- key KEYS[2..] of the same place. Returns how many were taken out.
local removed = 0
for i, name in ipairs(ARGV) do
  if redis.call('EXISTS', KEYS[i + 1]) == 0 then
    removed = removed + redis.call('SREM', KEYS[1], name)
  end
end
return removed
