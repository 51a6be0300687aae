-- begins with settle.lua
-- Acknowledges entries of a group, and remembers for some milliseconds by the keys `handled` that their events were
-- handled. From the group's own retry stream, the entries are deleted.
-- Rehearsed: what is acknowledged is remembered, and what is deleted is not pending.
local source = KEYS[1]
local group, milliseconds, is_retry = ARGV[1], ARGV[2], ARGV[3]
rehearse_settling(source, group, is_retry)
for i = 2, #KEYS do -- handled
  redis.call('SET', KEYS[i], '1', 'NX', 'PX', milliseconds)
end
for i = 4, #ARGV do -- ids
  settle(source, group, ARGV[i], is_retry)
end
return {}
