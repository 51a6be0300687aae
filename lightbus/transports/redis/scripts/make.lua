-- Makes the group ARGV[1] of the stream KEYS[1] and that of its retry stream KEYS[2], where they are not there. The
-- hash KEYS[3] knows how far a group of this name has read, and it goes on there; else it begins at ARGV[2], and
-- what the end was then is noted, so that it never begins at the end a second time.
-- Returns how often the group was made: by that who has read from an earlier one notices.
local start = redis.call('HGET', KEYS[3], ARGV[1]) or ARGV[2]
if start == '$' then
  local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
  start = newest and newest[1] or '0'
end
for i, from in ipairs({start, '0'}) do
  local reply = redis.pcall('XGROUP', 'CREATE', KEYS[i], ARGV[1], from, 'MKSTREAM')
  if not reply.err then
    redis.call('HSETNX', KEYS[3], ARGV[1], start)
    redis.call('HINCRBY', KEYS[3], ARGV[1] .. ' made', 1)
  elseif not string.find(reply.err, 'BUSYGROUP') then
    return reply
  end
end
return redis.call('HGET', KEYS[3], ARGV[1] .. ' made') or '0'
