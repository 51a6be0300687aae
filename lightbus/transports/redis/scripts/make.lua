-- Makes a group of a stream and of its retry stream, where they are not there. The hash `groups` knows how far a
-- group of this name has read, and it goes on there; else it begins at `start`, and what the end was then is noted,
-- so that it never begins at the end a second time, and that it is known later what came before it began, and
-- which id it has not read although it stands there.
-- Returns how often the group was made: by that who has read from an earlier one notices.
-- Nothing is written where both are there, and what is missing is made even where Redis is out of memory: a
-- listener that can't start frees none. The start is noted before the group is made: alone, it changes nothing.
local stream, retry, groups = KEYS[1], KEYS[2], KEYS[3]
local group, start = ARGV[1], ARGV[2]
for _, source in ipairs({stream, retry}) do
  local pending = redis.pcall('XPENDING', source, group)
  if pending.err then
    if not string.find(pending.err, 'NOGROUP') then
      return pending
    end
    redis.call('XACK', stream, group, '0-0')
    local first = redis.call('HGET', groups, group) or start
    if first == '$' then
      local newest = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
      first = newest and newest[1] or '0'
    end
    local is_first = redis.call('HSETNX', groups, group, first) == 1
    if is_first and source == stream then
      redis.call('HSETNX', groups, group .. ' began', first)
    end
    if source == stream then
      redis.call('HSET', groups, group .. ' placed', first)
    end
    redis.call('HINCRBY', groups, group .. ' made', 0)
    redis.call('XGROUP', 'CREATE', source, group, source == stream and first or '0', 'MKSTREAM')
    redis.call('HINCRBY', groups, group .. ' made', 1)
  end
end
return redis.call('HGET', groups, group .. ' made') or '0'
