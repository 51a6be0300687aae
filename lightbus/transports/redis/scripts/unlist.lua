-- Takes names out of the set of all APIs, but for those whose contract is there by now, under the keys `contracts` of
-- the same places. Returns how many were taken out.
local schemas = KEYS[1]
local keys = {}
for i = 2, #KEYS do -- contracts
  keys[#keys + 1] = KEYS[i]
end
local removed = 0
for i = 1, #ARGV do -- names
  if redis.call('EXISTS', keys[i]) == 0 then
    removed = removed + redis.call('SREM', schemas, ARGV[i])
  end
end
return removed
