-- begins with made.lua
-- Takes an entry of a group out of its stream and keeps its fields until they are due, `delay` milliseconds from now by
-- the server's clock: the body in the hash `bodies`, the time in the sorted set `delayed`, both under the member
-- `origin`. From the group's own retry stream, the entry is deleted. Returns 0 where somebody else has already finished
-- the entry: it is not pending, although the group is the one that it was read from (the hash `notes` says how often
-- it was made).
-- Rehearsed: an entry must not be acknowledged that then can't be kept, nor kept twice.
local source, delayed, bodies, notes, groups = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local group, entry, origin, delay, is_retry, made = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
for _, each in ipairs({{delayed, 'zset'}, {bodies, 'hash'}}) do
  local kind = redis.call('TYPE', each[1]).ok
  if kind ~= 'none' and kind ~= each[2] then
    return redis.error_reply('WRONGTYPE ' .. each[1] .. ' is not a ' .. each[2])
  end
end
redis.call('XACK', source, group, '0-0')
if is_retry == '1' then
  redis.call('XDEL', source, '0-0')
end
redis.call('ZADD', delayed, 'XX', 'GT', '-inf', origin)
local held = redis.pcall('XPENDING', source, group, entry, entry, 1)
if held.err and not string.find(held.err, 'NOGROUP') then
  return held
end
if #held == 0 and not held.err and made_of(notes, groups, group) == made then
  return 0
end
local fields = {}
for i = 7, #ARGV do -- fields
  fields[#fields + 1] = ARGV[i]
end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('HSET', bodies, origin, cmsgpack.pack(fields))
redis.call('ZADD', delayed, now + tonumber(delay), origin)
redis.call('XACK', source, group, entry)
if is_retry == '1' then
  redis.call('XDEL', source, entry)
end
return 1
