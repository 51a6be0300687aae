-- begins with replies.lua, readers.lua, former.lua, ending.lua
-- Removes a group of a stream and all that is kept for it: what waits for a retry, its dead letters, how far it has read.
-- Does nothing where a process reads it, which would make it again: returns that process and how long it was idle; else
-- nothing.
-- Rehearsed: what is kept must not go where the group would stay, nor the other way round.
local stream, retry, delayed, bodies, dead = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local notes, groups = KEYS[6], KEYS[7]
local group, nobody, silent, silent_1x = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local reader, idle = reader_of(stream, retry, group, nobody, silent, silent_1x)
if reader then
  return {reader, idle}
end
redis.call('XACK', stream, group, '0-0')
end_group(stream, retry, delayed, bodies, dead, notes, groups, group)
return {}
