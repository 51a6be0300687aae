-- Moves up to `most` entries that are due from the sorted set `delayed` and the hash `bodies` to the group's retry
-- stream, where readers are blocked; what is no entry goes to its dead letters.
-- Nothing waits for longer than `longest` milliseconds: where Redis's clock was set back, all would wait until then.
-- Returns the milliseconds until the next one is due, or -1, how many were no entries, and how many were moved.
-- Rehearsed, with a member that nobody has since it is no text: what is moved waits no more. Done even where Redis
-- is out of memory, since it needs none in the end, and events that wait free none.
local delayed, bodies, retry, dead = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local most, longest = ARGV[1], ARGV[2]
for _, stream in ipairs({retry, dead}) do
  local kind = redis.call('TYPE', stream).ok
  if kind ~= 'none' and kind ~= 'stream' then
    return redis.error_reply('WRONGTYPE ' .. stream .. ' is not a stream')
  end
end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local latest = string.format('%.0f', now + tonumber(longest))
local late = redis.call('ZRANGEBYSCORE', delayed, '(' .. latest, '+inf')
local due = redis.call('ZRANGEBYSCORE', delayed, '-inf', now, 'LIMIT', 0, most)

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
  redis.call('HDEL', bodies, '\255')
  redis.call('ZREM', delayed, '\255')
end
for _, member in ipairs(late) do
  redis.call('ZADD', delayed, latest, member)
end
local refused, moved = 0, 0
for _, member in ipairs(due) do
  local body = redis.call('HGET', bodies, member)
  if body then
    local read, fields = pcall(cmsgpack.unpack, body)
    if read and is_entry(fields) then
      redis.call('XADD', retry, '*', unpack(fields))
      moved = moved + 1
    else
      redis.call('XADD', dead, '*', 'body', body, 'reason', 'invalid_message', 'error',
        'what waited for its next attempt is no event', 'trace', '', 'attempts', '0', 'origin', member)
      refused = refused + 1
    end
    redis.call('HDEL', bodies, member)
  end
  redis.call('ZREM', delayed, member)
end
local first = redis.call('ZRANGEBYSCORE', delayed, '-inf', '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
if #first == 0 then
  return {-1, refused, moved}
end
return {math.max(0, tonumber(first[2]) - now), refused, moved}
