-- Lets the leases that the group ARGV[1] of the stream KEYS[1] holds from the future begin now: Redis's clock was set
-- back since, and it calls their entries idle for 0 ms until that time has come, so that nobody takes them over. One
-- that was delivered just now is idle for 0 ms as well, and the same is done to it as Redis has just done.
-- Looks at up to ARGV[2] entries from the id ARGV[3] on, for those that are idle for ARGV[4] ms, which is 0, at most.
-- Returns where to go on, or '-' at the end.
local found = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], '+', ARGV[2])
for _, held in ipairs(found) do
  if held[3] <= tonumber(ARGV[4]) then
    redis.call('XCLAIM', KEYS[1], ARGV[1], held[2], 0, held[1], 'JUSTID')
  end
end
if #found < tonumber(ARGV[2]) then
  return '-'
end
return '(' .. found[#found][1]
