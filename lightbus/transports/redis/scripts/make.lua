-- begins with replies.lua, notes.lua, made.lua
-- Makes a group of a stream and of its retry stream, where they are not there. Its hash `notes` knows how far a group of
-- this name has read, and it goes on there; else it begins at `start`, and what the end was then is noted,
-- so that it never begins at the end a second time, and that it is known later what came before it began, and
-- which id it has not read although it stands there.
-- What an earlier version has noted in the hash `groups` is copied. Where one may be at work still, it is told that the group
-- was made again, if this user may write there.
-- Returns how often the group was made: by that who has read from an earlier one notices.
-- Nothing is written where both are there and all is noted, and what is missing is made even where Redis is out of memory: a
-- listener that can't start frees none. The start is noted before the group is made: alone, it changes nothing.
local stream, retry, notes, groups = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local group, start = ARGV[1], ARGV[2]

local function copy_old()
  for _, name in ipairs({'read', 'began', 'placed', 'surplus', 'service', 'heir'}) do
    local old = redis.call('HGET', groups, field_of(group, name))
    if old then
      redis.call('HSETNX', notes, name, old)
    end
  end
end

local function make_again(source, first)
  local is_first = redis.call('HSETNX', notes, 'read', first) == 1
  if is_first and source == stream then
    redis.call('HSETNX', notes, 'began', first)
  end
  if source == stream then
    redis.call('HSET', notes, 'placed', first)
  end
  redis.call('HINCRBY', notes, 'made', 0)
  redis.call('XGROUP', 'CREATE', source, group, source == stream and first or '0', 'MKSTREAM')
  redis.call('HINCRBY', notes, 'made', 1)
end

local is_old = redis.call('HGET', groups, group)
if is_old and not redis.call('HGET', notes, 'read') then
  -- The first write, one that needs no memory: so all of it is done where Redis has none left.
  redis.call('XACK', stream, group, '0-0')
  copy_old()
end
for _, source in ipairs({stream, retry}) do
  local pending = redis.pcall('XPENDING', source, group)
  if pending.err then
    if not string.find(pending.err, 'NOGROUP') then
      return pending
    end
    redis.call('XACK', stream, group, '0-0')
    local first = redis.call('HGET', notes, 'read') or start
    if is_old and before(first, is_old) then
      first = is_old
    end
    if first == '$' then
      local newest = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
      first = newest and newest[1] or '0'
    end
    make_again(source, first)
    if is_old then
      redis.pcall('HINCRBY', groups, group .. ' made', 1)
    end
  end
end
return made_of(notes, groups, group)
