-- begins with made.lua
-- Takes an entry of a group out of its stream and appends fields to the stream `target`: the group's dead letters, or
-- its retry stream for an entry that was not started. From the group's own retry stream, the entry is deleted.
-- Returns 0 where somebody else has already finished the entry: it is not pending, although the group is the one
-- that it was read from (the hash `notes` says how often it was made).
-- Rehearsed: an entry must not be acknowledged that then can't be kept, nor kept twice.
local source, target, notes, groups = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local group, entry, is_retry, made = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local kind = redis.call('TYPE', target).ok
if kind ~= 'none' and kind ~= 'stream' then
  return redis.error_reply('WRONGTYPE ' .. target .. ' is not a stream')
end
redis.call('XACK', source, group, '0-0')
if is_retry == '1' then
  redis.call('XDEL', source, '0-0')
end
local held = redis.pcall('XPENDING', source, group, entry, entry, 1)
if held.err and not string.find(held.err, 'NOGROUP') then
  return held
end
if #held == 0 and not held.err and made_of(notes, groups, group) == made then
  return 0
end
local fields = {}
for i = 5, #ARGV do -- fields
  fields[#fields + 1] = ARGV[i]
end
redis.call('XADD', target, '*', unpack(fields))
redis.call('XACK', source, group, entry)
if is_retry == '1' then
  redis.call('XDEL', source, entry)
end
return 1
