-- begins with kinds.lua, made.lua, settled.lua, settle.lua
-- Takes an entry of a group out of its stream and keeps its fields until they are due, `delay` milliseconds from now by
-- the server's clock: the body in the hash `bodies`, the time in the sorted set `delayed`, both under the member
-- `origin`. From the group's own retry stream, the entry is deleted. Returns 0 where somebody else has already finished
-- the entry.
-- Rehearsed: an entry must not be acknowledged that then can't be kept, nor kept twice.
local source, delayed, bodies, notes, groups = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local group, entry, origin, delay, is_retry, made = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local wrong = wrong_kind({[delayed] = 'zset', [bodies] = 'hash'})
if wrong then
  return wrong
end
rehearse_settling(source, group, is_retry)
redis.call('ZADD', delayed, 'XX', 'GT', '-inf', origin)
local is_done, refusal = is_settled(source, group, entry, notes, groups, made)
if is_done or refusal then
  return refusal or 0
end
local fields = {}
for i = 7, #ARGV do -- fields
  fields[#fields + 1] = ARGV[i]
end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('HSET', bodies, origin, cmsgpack.pack(fields))
redis.call('ZADD', delayed, now + tonumber(delay), origin)
settle(source, group, entry, is_retry)
return 1
