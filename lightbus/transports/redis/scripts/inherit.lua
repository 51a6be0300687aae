-- begins with replies.lua, readers.lua, groups.lua, kinds.lua, notes.lua, former.lua, ending.lua
-- Gives up to `most` entries that are kept for a group of a stream to its heir, which its hash `notes` names: what it
-- has not read, what is pending, what waits for a retry, its dead letters, in this order. Where nothing is left, removes
-- the group. So this is run until it returns 'done'; until then, it returns 'more', or 'read' with a process that reads
-- the group and how many ms ago it was heard of.
-- What came after the id up to which the heir gets things is dropped, since the heir has had it itself; not dead letters.
-- Pending entries keep their delivery count; so do those of the retry stream, unless others wait unread in the heir's:
-- then they wait behind those, and the count begins anew.
-- Rehearsed: nothing is in both groups, or in neither. Each run does one kind, and its first write adds something.
local stream, retry, delayed, bodies, dead = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local notes, groups = KEYS[6], KEYS[7]
local heirs_retry, heirs_delayed, heirs_bodies, heirs_dead = KEYS[8], KEYS[9], KEYS[10], KEYS[11]
local group, heir, most, last = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local nobody, silent, silent_1x = ARGV[5], ARGV[6], ARGV[7]

local other, till = string.match(noted(notes, groups, group, 'heir') or '', '^(.*) (%S*)$')
if other ~= heir then
  return {'done'}
end
local reader, idle = reader_of(stream, retry, group, nobody, silent, silent_1x)
if reader then
  return {'read', reader, idle}
end
local wrong = wrong_kind({
  [heirs_retry] = 'stream', [heirs_dead] = 'stream', [heirs_delayed] = 'zset', [heirs_bodies] = 'hash',
  [retry] = 'stream', [dead] = 'stream', [delayed] = 'zset', [bodies] = 'hash',
})
if wrong then
  return wrong
end

local function with_origin(fields, origin)
  local long = math.min(#fields, 4000)
  fields = {unpack(fields, 1, long)}
  for _, value in ipairs({'attempts', '0', 'origin', origin}) do
    fields[#fields + 1] = value
  end
  return fields
end

-- Also the first write, one that needs no memory: so all of it is done where Redis has none left.
redis.call('XACK', stream, group, '0-0')

-- What it has not read: events that wait in the retry stream are read there. It ends behind all ids.
local place = groups_of(stream)[group]['last-delivered-id']
if place ~= last then
  local unread = before(place, till) and redis.call('XRANGE', stream, '(' .. place, till, 'COUNT', most) or {}
  redis.call('XGROUP', 'SETID', stream, group, place)
  for _, entry in ipairs(unread) do
    redis.call('XADD', heirs_retry, '*', unpack(with_origin(entry[2], entry[1])))
  end
  redis.call('XGROUP', 'SETID', stream, group, #unread > 0 and unread[#unread][1] or last)
  return {'more'}
end

-- What is pending. Deleted entries are not taken over.
local held = redis.call('XPENDING', stream, group, '-', '+', most)
for _, each in ipairs(held) do
  local id, idle_for, count = each[1], each[3], each[4]
  if not before(till, id) and #redis.call('XRANGE', stream, id, id) > 0 then
    redis.call('XCLAIM', stream, heir, nobody, 0, id, 'IDLE', idle_for, 'RETRYCOUNT', count, 'FORCE', 'JUSTID')
  end
  redis.call('XACK', stream, group, id)
end
if #held > 0 then
  return {'more'}
end

-- What waits in the retry stream: first what is pending there, which is older.
local counts, again = {}, {}
held = redis.pcall('XPENDING', retry, group, '-', '+', most)
for _, each in ipairs(held.err and {} or held) do
  counts[each[1]] = {each[3], each[4]}
  again[#again + 1] = redis.call('XRANGE', retry, each[1], each[1])[1] or {each[1], {}}
end
if #again == 0 then
  again = redis.call('XRANGE', retry, '-', '+', 'COUNT', most)
end
if #again > 0 then
  local newest = redis.call('XREVRANGE', heirs_retry, '+', '-', 'COUNT', 1)[1]
  local read = groups_of(heirs_retry)[heir]['last-delivered-id']
  local is_all_read = not newest or not before(read, newest[1])
  redis.call('XACK', retry, group, '0-0')
  redis.call('XDEL', retry, '0-0')
  redis.call('XGROUP', 'SETID', heirs_retry, heir, read)
  -- Of a group that nobody has: in one that is there, Valkey would make the consumer.
  local claimed = redis.pcall('XCLAIM', heirs_retry, '\255', nobody, 0, '0-0')
  if claimed.err and not string.find(claimed.err, 'NOGROUP') then
    redis.call('XCLAIM', heirs_retry, '\255', nobody, 0, '0-0')
  end
  for _, entry in ipairs(again) do
    local id, fields = entry[1], entry[2]
    local origin = fields[#fields - 1] == 'origin' and fields[#fields] or '0'
    if #fields > 0 and not before(till, origin) then
      local new = redis.call('XADD', heirs_retry, '*', unpack(fields))
      if counts[id] and is_all_read then
        redis.call('XGROUP', 'SETID', heirs_retry, heir, new)
        redis.call('XCLAIM', heirs_retry, heir, nobody, 0, new, 'IDLE', counts[id][1], 'RETRYCOUNT', counts[id][2], 'FORCE',
          'JUSTID')
      end
    end
    redis.call('XACK', retry, group, id)
    redis.call('XDEL', retry, id)
  end
  return {'more'}
end

-- What waits for its time, with its body.
local waiting = redis.call('ZRANGE', delayed, 0, most - 1, 'WITHSCORES')
if #waiting > 0 then
  redis.call('HDEL', bodies, '\255')
  redis.call('ZREM', delayed, '\255')
  redis.call('ZADD', heirs_delayed, 'XX', 'GT', '-inf', '\255')
  for i = 1, #waiting, 2 do
    local origin = waiting[i]
    local body = redis.call('HGET', bodies, origin)
    if body and not before(till, origin) then
      redis.call('HSET', heirs_bodies, origin, body)
      redis.call('ZADD', heirs_delayed, waiting[i + 1], origin)
    end
    redis.call('HDEL', bodies, origin)
    redis.call('ZREM', delayed, origin)
  end
  return {'more'}
end

-- Dead letters. Their ids say when they died, so they are kept unless the heir has later ones.
local letters = redis.call('XRANGE', dead, '-', '+', 'COUNT', most)
if #letters > 0 then
  redis.call('XDEL', dead, '0-0')
  for _, letter in ipairs(letters) do
    local id, fields = letter[1], letter[2]
    local added = redis.pcall('XADD', heirs_dead, id, unpack(fields))
    if added.err then
      redis.call('XADD', heirs_dead, '*', unpack(fields))
    end
    redis.call('XDEL', dead, id)
  end
  return {'more'}
end

end_group(stream, retry, delayed, bodies, dead, notes, groups, group)
return {'done'}
