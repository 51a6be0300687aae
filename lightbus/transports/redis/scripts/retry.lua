-- Takes the entry ARGV[2] of the group ARGV[1] out of the stream KEYS[1] and keeps its fields ARGV[7..] until
-- they are due, ARGV[4] milliseconds from now by the server's clock: the body in the hash KEYS[3], the time in
-- the sorted set KEYS[2], both under the member ARGV[3]. ARGV[5] is 1 where KEYS[1] is the group's own retry
-- stream, from which the entry is deleted. Returns 0 where somebody else has already finished the entry: it is
-- not pending, although the group is the one that it was read from (the hash KEYS[4] says, by ARGV[6]).
-- Rehearsed: an entry must not be acknowledged that then can't be kept, nor kept twice.
for i, wanted in ipairs({'zset', 'hash'}) do
  local kind = redis.call('TYPE', KEYS[i + 1]).ok
  if kind ~= 'none' and kind ~= wanted then
    return redis.error_reply('WRONGTYPE ' .. KEYS[i + 1] .. ' is not a ' .. wanted)
  end
end
redis.call('XACK', KEYS[1], ARGV[1], '0-0')
if ARGV[5] == '1' then
  redis.call('XDEL', KEYS[1], '0-0')
end
redis.call('ZADD', KEYS[2], 'XX', 'GT', '-inf', ARGV[3])
local held = redis.pcall('XPENDING', KEYS[1], ARGV[1], ARGV[2], ARGV[2], 1)
if held.err and not string.find(held.err, 'NOGROUP') then
  return held
end
if #held == 0 and not held.err and (redis.call('HGET', KEYS[4], ARGV[1] .. ' made') or '0') == ARGV[6] then
  return 0
end
local fields = {}
for i = 7, #ARGV do
  fields[#fields + 1] = ARGV[i]
end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('HSET', KEYS[3], ARGV[3], cmsgpack.pack(fields))
redis.call('ZADD', KEYS[2], now + tonumber(ARGV[4]), ARGV[3])
redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
if ARGV[5] == '1' then
  redis.call('XDEL', KEYS[1], ARGV[2])
end
return 1
