-- Takes the entry ARGV[2] of the group ARGV[1] out of the stream KEYS[1] and appends the fields ARGV[5..] to
-- the stream KEYS[2]: the group's dead letters, or its retry stream for an entry that was not started.
-- ARGV[3] is 1 where KEYS[1] is the group's own retry stream, from which the entry is deleted.
-- Returns 0 where somebody else has already finished the entry: it is not pending, although the group is the one
-- that it was read from (the hash KEYS[3] says, by ARGV[4]).
-- Rehearsed: an entry must not be acknowledged that then can't be kept, nor kept twice.
local kind = redis.call('TYPE', KEYS[2]).ok
if kind ~= 'none' and kind ~= 'stream' then
  return redis.error_reply('WRONGTYPE ' .. KEYS[2] .. ' is not a stream')
end
redis.call('XACK', KEYS[1], ARGV[1], '0-0')
if ARGV[3] == '1' then
  redis.call('XDEL', KEYS[1], '0-0')
end
local held = redis.pcall('XPENDING', KEYS[1], ARGV[1], ARGV[2], ARGV[2], 1)
if held.err and not string.find(held.err, 'NOGROUP') then
  return held
end
if #held == 0 and not held.err and (redis.call('HGET', KEYS[3], ARGV[1] .. ' made') or '0') == ARGV[4] then
  return 0
end
local fields = {}
for i = 5, #ARGV do
  fields[#fields + 1] = ARGV[i]
end
redis.call('XADD', KEYS[2], '*', unpack(fields))
redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
if ARGV[3] == '1' then
  redis.call('XDEL', KEYS[1], ARGV[2])
end
return 1
