-- begins with replies.lua, groups.lua
-- Trims a stream towards `most` entries, but never past what some group has not acknowledged.
-- The key `trimming` is a lease of so many milliseconds, so that one process at a time does it; it says since when, so
-- that one from the future is known: Redis's clock was set back since, and it would last until that time. A trim of
-- nothing comes before, so that Redis keeps the lease even where it is out of memory: it is then that room is needed.
-- Where `drops` is 1, the oldest are dropped all the same.
-- Returns 1 where the stream is full of unacknowledged entries, 0 where it is not, -1 where another has the lease;
-- and how many of them were dropped.
local stream, trimming = KEYS[1], KEYS[2]
local most, lease, drops = ARGV[1], ARGV[2], ARGV[3]
redis.call('XTRIM', stream, 'MINID', 0)
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
if not redis.call('SET', trimming, string.format('%.0f', now), 'NX', 'PX', lease) then
  if (tonumber(redis.call('GET', trimming)) or 0) <= now then
    return {-1, 0}
  end
  redis.call('SET', trimming, string.format('%.0f', now), 'PX', lease)
end
most = tonumber(most)
local excess = redis.call('XLEN', stream) - most
if excess <= 0 then
  return {0, 0}
end

-- The last entry that a group has read stays: where it is gone, somebody else has trimmed beyond it, which nothing else
-- tells before Redis 7.0.
local safe, needed = nil, nil
for group, info in pairs(groups_of(stream)) do
  local last = info['last-delivered-id']
  local ms, seq = string.match(last, '^(%d+)-(%d+)$')
  local id = ms .. '-' .. string.format('%.0f', tonumber(seq) + 1)
  if info['pending'] > 0 then
    id = redis.call('XPENDING', stream, group)[2]
    last = before(id, last) and id or last
  end
  if safe == nil or before(last, safe) then
    safe = last
  end
  if needed == nil or before(id, needed) then
    needed = id
  end
end
if safe == nil then
  redis.call('XTRIM', stream, 'MAXLEN', '~', most)
  return {0, 0}
end
redis.call('XTRIM', stream, 'MINID', '~', safe, 'LIMIT', excess)
excess = redis.call('XLEN', stream) - most
if excess <= 0 then
  return {0, 0}
end
-- Whole nodes of the stream are trimmed, so a few entries stay that might go: they count as room.
local free = #redis.call('XRANGE', stream, '-', '(' .. needed, 'COUNT', excess)
if free >= excess then
  return {0, 0}
end
if drops ~= '1' then
  return {1, 0}
end
local trimmed = redis.call('XTRIM', stream, 'MAXLEN', '~', most)
return {0, math.max(0, trimmed - free)}
