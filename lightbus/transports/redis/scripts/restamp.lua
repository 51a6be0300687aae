-- Lets the leases that a group holds from the future begin now: Redis's clock was set back since, and it calls their
-- entries idle for 0 ms until that time has come, so that nobody takes them over. One that was delivered just now is
-- idle for 0 ms as well, and the same is done to it as Redis has just done.
-- Looks at up to `most` entries from the id `first` on, for those that are idle for `idle` ms, which is 0, at most.
-- Returns where to go on, or '-' at the end.
local source = KEYS[1]
local group, most, first, idle = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local found = redis.call('XPENDING', source, group, first, '+', most)
for _, held in ipairs(found) do
  if held[3] <= tonumber(idle) then
    redis.call('XCLAIM', source, group, held[2], 0, held[1], 'JUSTID')
  end
end
if #found < tonumber(most) then
  return '-'
end
return '(' .. found[#found][1]
