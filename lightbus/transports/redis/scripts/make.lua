-- Makes the group ARGV[1] of the stream KEYS[1] and that of its retry stream KEYS[2], where they are not there. The
-- hash KEYS[3] knows how far a group of this name has read, and it goes on there; else it begins at ARGV[2], and
-- what the end was then is noted, so that it never begins at the end a second time.
-- Returns how often the group was made: by that who has read from an earlier one notices.
-- Nothing is written where both are there, and what is missing is made even where Redis is out of memory: a
-- listener that can't start frees none. The start is noted before the group is made: alone, it changes nothing.
for i = 1, 2 do
  local group = redis.pcall('XPENDING', KEYS[i], ARGV[1])
  if group.err then
    if not string.find(group.err, 'NOGROUP') then
      return group
    end
    redis.call('XACK', KEYS[1], ARGV[1], '0-0')
    local start = redis.call('HGET', KEYS[3], ARGV[1]) or ARGV[2]
    if start == '$' then
      local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
      start = newest and newest[1] or '0'
    end
    redis.call('HSETNX', KEYS[3], ARGV[1], start)
    redis.call('HINCRBY', KEYS[3], ARGV[1] .. ' made', 0)
    redis.call('XGROUP', 'CREATE', KEYS[i], ARGV[1], i == 1 and start or '0', 'MKSTREAM')
    redis.call('HINCRBY', KEYS[3], ARGV[1] .. ' made', 1)
  end
end
return redis.call('HGET', KEYS[3], ARGV[1] .. ' made') or '0'
