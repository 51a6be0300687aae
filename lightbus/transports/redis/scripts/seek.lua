-- begins with readers.lua
-- Moves the place of a group in its stream to the id `place`, after which it reads on. Does nothing where a process reads
-- it: returns 'read', that process and how many ms ago it was heard of; or where it is being moved: 'moved' and its heir.
-- Else returns 'done'.
-- Where it goes back, what is pending or waits for a retry is kept no more if the group is going to read it again. So an
-- event runs once. It is kept if it is in the stream no more. All of it is done at once: half of it would lose events.
-- Rehearsed, by putting the group where it is: what is dropped is read again.
local stream, retry, delayed, bodies, groups = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local group, place, nobody, silent, silent_1x = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local reader, idle = reader_of(stream, retry, group, nobody, silent, silent_1x)
if reader then
  return {'read', reader, idle}
end
local noted = redis.call('HMGET', groups, group .. ' heir', group .. ' began')
if noted[1] then
  return {'moved', string.match(noted[1], '^(.*) ')}
end
for _, each in ipairs({{retry, 'stream'}, {delayed, 'zset'}, {bodies, 'hash'}}) do
  local kind = redis.call('TYPE', each[1]).ok
  if kind ~= 'none' and kind ~= each[2] then
    return redis.error_reply('WRONGTYPE ' .. each[1] .. ' is not a ' .. each[2])
  end
end

local function before(a, b)
  local a_ms, a_seq = string.match(a, '^(%d+)%-?(%d*)$')
  local b_ms, b_seq = string.match(b, '^(%d+)%-?(%d*)$')
  a_ms, a_seq = tonumber(a_ms) or 0, tonumber(a_seq) or 0
  b_ms, b_seq = tonumber(b_ms) or 0, tonumber(b_seq) or 0
  return a_ms < b_ms or (a_ms == b_ms and a_seq < b_seq)
end

local function is_read_again(id)
  return before(place, id) and #redis.call('XRANGE', stream, id, id) > 0
end

local now
for _, each in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
  local info = {}
  for i = 1, #each, 2 do
    info[each[i]] = each[i + 1]
  end
  if info['name'] == group then
    now = info['last-delivered-id']
  end
end

-- What is read again, and so is kept no more: of the stream, of the retry stream, and of what waits for its time.
local pending, again, waiting = {}, {}, {}
if before(place, now) then
  local first = '(' .. place
  repeat
    local held = redis.call('XPENDING', stream, group, first, '+', 1000)
    for _, each in ipairs(held) do
      first = '(' .. each[1]
      pending[#pending + 1] = is_read_again(each[1]) and each[1] or nil
    end
  until #held == 0
  first = '-'
  repeat
    local entries = redis.call('XRANGE', retry, first, '+', 'COUNT', 1000)
    for _, entry in ipairs(entries) do
      local fields = entry[2]
      first = '(' .. entry[1]
      if fields[#fields - 1] == 'origin' and is_read_again(fields[#fields]) then
        again[#again + 1] = entry[1]
      end
    end
  until #entries == 0
  for _, origin in ipairs(redis.call('ZRANGE', delayed, 0, -1)) do
    waiting[#waiting + 1] = is_read_again(origin) and origin or nil
  end
end

redis.call('XACK', stream, group, '0-0')
redis.call('XDEL', retry, '0-0')
redis.call('ZREM', delayed, '\255')
redis.call('HDEL', bodies, '\255')
redis.call('XGROUP', 'SETID', stream, group, now)
redis.call('HSET', groups, group, place)
redis.call('XGROUP', 'SETID', stream, group, place)
if noted[2] and before(place, noted[2]) then
  redis.call('HSET', groups, group .. ' began', place)
end
for _, id in ipairs(pending) do
  redis.call('XACK', stream, group, id)
end
for _, id in ipairs(again) do
  redis.call('XACK', retry, group, id)
  redis.call('XDEL', retry, id)
end
for _, origin in ipairs(waiting) do
  redis.call('ZREM', delayed, origin)
  redis.call('HDEL', bodies, origin)
end
return {'done'}
