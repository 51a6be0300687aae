-- Moves up to ARGV[1] entries that are due from the sorted set KEYS[1] and the hash KEYS[2] to the group's
-- retry stream KEYS[3], where readers are blocked. Returns the milliseconds until the next one is due, or -1.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])
for _, member in ipairs(due) do
  local body = redis.call('HGET', KEYS[2], member)
  if body then
    redis.call('XADD', KEYS[3], '*', unpack(cmsgpack.unpack(body)))
    redis.call('HDEL', KEYS[2], member)
  end
  redis.call('ZREM', KEYS[1], member)
end
local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
if #first == 0 then
  return -1
end
return math.max(0, tonumber(first[2]) - now)
