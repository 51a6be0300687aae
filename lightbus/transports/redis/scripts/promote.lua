-- Moves up to ARGV[1] entries that are due from the sorted set KEYS[1] and the hash KEYS[2] to the group's
-- retry stream KEYS[3], where readers are blocked; what is no entry goes to the dead letters KEYS[4].
-- Nothing waits for longer than ARGV[2] milliseconds: where Redis's clock was set back, all would wait until then.
-- Returns the milliseconds until the next one is due, or -1, and how many were no entries.
-- Rehearsed, with a member that nobody has since it is no text: what is moved waits no more. Done even where Redis
-- is out of memory, since it needs none in the end, and events that wait free none.
for i = 3, 4 do
  local kind = redis.call('TYPE', KEYS[i]).ok
  if kind ~= 'none' and kind ~= 'stream' then
    return redis.error_reply('WRONGTYPE ' .. KEYS[i] .. ' is not a stream')
  end
end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local latest = string.format('%.0f', now + tonumber(ARGV[2]))
local late = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. latest, '+inf')
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])

local function is_entry(fields)
  if type(fields) ~= 'table' or #fields == 0 or #fields % 2 == 1 or #fields > 7000 then
    return false
  end
  for _, value in ipairs(fields) do
    if type(value) ~= 'string' then
      return false
    end
  end
  return true
end

if #due > 0 or #late > 0 then
  redis.call('HDEL', KEYS[2], '\255')
  redis.call('ZREM', KEYS[1], '\255')
end
for _, member in ipairs(late) do
  redis.call('ZADD', KEYS[1], latest, member)
end
local refused = 0
for _, member in ipairs(due) do
  local body = redis.call('HGET', KEYS[2], member)
  if body then
    local read, fields = pcall(cmsgpack.unpack, body)
    if read and is_entry(fields) then
      redis.call('XADD', KEYS[3], '*', unpack(fields))
    else
      redis.call('XADD', KEYS[4], '*', 'body', body, 'reason', 'invalid_message', 'error',
        'what waited for its next attempt is no event', 'trace', '', 'attempts', '0', 'origin', member)
      refused = refused + 1
    end
    redis.call('HDEL', KEYS[2], member)
  end
  redis.call('ZREM', KEYS[1], member)
end
local first = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
if #first == 0 then
  return {-1, refused}
end
return {math.max(0, tonumber(first[2]) - now), refused}
