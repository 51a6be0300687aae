-- begins with kinds.lua, made.lua, settled.lua, settle.lua
-- Takes an entry of a group out of its stream and appends fields to the stream `target`: the group's dead letters, or
-- its retry stream for an entry that was not started. From the group's own retry stream, the entry is deleted.
-- Returns 0 where somebody else has already finished the entry.
-- Rehearsed: an entry must not be acknowledged that then can't be kept, nor kept twice.
local source, target, notes, groups = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local group, entry, is_retry, made = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local wrong = wrong_kind({[target] = 'stream'})
if wrong then
  return wrong
end
rehearse_settling(source, group, is_retry)
local is_done, refusal = is_settled(source, group, entry, notes, groups, made)
if is_done or refusal then
  return refusal or 0
end
local fields = {}
for i = 5, #ARGV do -- fields
  fields[#fields + 1] = ARGV[i]
end
redis.call('XADD', target, '*', unpack(fields))
settle(source, group, entry, is_retry)
return 1
