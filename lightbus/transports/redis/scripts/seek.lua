-- begins with replies.lua, readers.lua, groups.lua, kinds.lua, notes.lua
-- Moves the place of a group in its stream to the id `place`, after which it reads on. Then, so that an event runs once,
-- what is pending or waits for a retry is kept no more if the group is going to read it again; it is kept if it is in the
-- stream no more.
-- Each run does one step, `what`, with up to `most` entries from `cursor` on: first 'begin'. Returns the next step and its
-- cursor, in the end 'done'. Does nothing where a process reads the group: returns 'read', that process and how many ms
-- ago it was heard of; or where it is being moved: 'moved' and its heir.
-- The place is moved first: where the rest is cut short, events may run twice, but none is lost; again, it is finished.
-- Rehearsed: what is dropped is dropped as a whole.
local stream, retry, delayed, bodies = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local notes, groups = KEYS[5], KEYS[6]
local group, place, most, what, cursor = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local nobody, silent, silent_1x = ARGV[6], ARGV[7], ARGV[8]
local reader, idle = reader_of(stream, retry, group, nobody, silent, silent_1x)
if reader then
  return {'read', reader, idle}
end
local heir, began = noted(notes, groups, group, 'heir'), noted(notes, groups, group, 'began')
if heir then
  return {'moved', string.match(heir, '^(.*) ')}
end
local wrong = wrong_kind({[retry] = 'stream', [delayed] = 'zset', [bodies] = 'hash'})
if wrong then
  return wrong
end

local function is_read_again(id)
  return before(place, id) and #redis.call('XRANGE', stream, id, id) > 0
end

-- The first write, one that needs no memory: so all of it is done where Redis has none left.
redis.call('XACK', stream, group, '0-0')

if what == 'begin' then
  local now = groups_of(stream)[group]['last-delivered-id']
  redis.call('XGROUP', 'SETID', stream, group, now)
  local since = began and before(place, began) and place or began
  redis.call('HDEL', groups, '\255')
  redis.call('HSET', notes, 'read', place, 'placed', place, unpack(since and {'began', since} or {}))
  -- The mark of an earlier version may lie further on.
  redis.call('HDEL', groups, group, group .. ' placed', group .. ' began')
  redis.call('XGROUP', 'SETID', stream, group, place)
  return {'pending', '-'}
end

if what == 'pending' then
  local held = redis.call('XPENDING', stream, group, '(' .. place, '+', most)
  for _, each in ipairs(held) do
    redis.call('XACK', stream, group, each[1])
  end
  return {#held > 0 and 'pending' or 'again', '-'}
end

if what == 'again' then
  local entries = redis.call('XRANGE', retry, cursor, '+', 'COUNT', most)
  redis.call('XDEL', retry, '0-0')
  for _, entry in ipairs(entries) do
    local id, fields = entry[1], entry[2]
    if fields[#fields - 1] == 'origin' and is_read_again(fields[#fields]) then
      redis.call('XACK', retry, group, id)
      redis.call('XDEL', retry, id)
    end
    cursor = '(' .. id
  end
  return {#entries > 0 and 'again' or 'waiting', #entries > 0 and cursor or '0'}
end

local waiting = redis.call('ZRANGE', delayed, cursor, cursor + most - 1)
redis.call('HDEL', bodies, '\255')
for _, origin in ipairs(waiting) do
  if is_read_again(origin) then
    redis.call('ZREM', delayed, origin)
    redis.call('HDEL', bodies, origin)
  else
    cursor = cursor + 1
  end
end
return {#waiting > 0 and 'waiting' or 'done', cursor}
