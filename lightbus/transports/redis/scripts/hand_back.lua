-- begins with replies.lua, groups.lua, kinds.lua, notes.lua
-- Hands back to a Lightbus 1.x what waits for a group of a stream where 1.x does not look: up to `most` entries from `cursor`
-- on, of one kind: 'again' are those of the retry stream, 'waiting' those that wait for their time, 'dead' the dead letters,
-- which are meant only where `letters` is 1. Where `acts` is 0, it only looks.
-- An entry that is in the stream still is pending there again, idle for `idle` ms, so that it is taken over at once. One that
-- is not is added to the stream anew, for this group alone: every other one is set behind it. So that waits while another
-- group has unread events. What is no event stays.
-- Returns the next kind, in the end 'done', and where to go on; how many are pending, how many were added, how many are no
-- events, how many wait for another group, and that group. Or 'read', a process that reads the retry stream, and how many ms
-- ago it was heard of; 'moved' and the group's heir; or 'gone'.
-- Rehearsed: nothing is in both places, or in neither. What is added comes first.
local stream, retry, delayed, bodies, dead = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local notes, groups = KEYS[6], KEYS[7]
local group, most, what, cursor, letters, acts = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local idle, nobody, silent = ARGV[7], ARGV[8], ARGV[9]

local known = groups_of(stream)
if not known[group] then
  return {'gone'}
end
local wrong = wrong_kind({[retry] = 'stream', [delayed] = 'zset', [bodies] = 'hash', [dead] = 'stream'})
if wrong then
  return wrong
end
local consumers = redis.pcall('XINFO', 'CONSUMERS', retry, group)
if consumers.err and not string.find(consumers.err, 'NOGROUP') and not string.find(consumers.err, 'no such key') then
  return consumers
end
for _, consumer in ipairs(consumers.err and {} or consumers) do
  local info = by_name(consumer)
  if info['name'] ~= nobody and info['idle'] <= tonumber(silent) then
    return {'read', info['name'], info['idle']}
  end
end
local heir = noted(notes, groups, group, 'heir')
if heir then
  return {'moved', string.match(heir, '^(.*) ')}
end

-- Returns a table of what an entry holds without the fields that Lightbus has added; nothing where it is no event.
local function as_event(id, fields)
  if type(fields) ~= 'table' or #fields == 0 or #fields % 2 == 1 or #fields > 7000 then
    return nil
  end
  for _, value in ipairs(fields) do
    if type(value) ~= 'string' then
      return nil
    end
  end
  local extra = fields[#fields - 1] == 'origin' and (what == 'dead' and 10 or 4) or 0
  if extra > #fields or (what == 'dead' and extra > 0 and fields[#fields - 8] == 'invalid_message') then
    return nil
  end
  return {id = id, origin = extra > 0 and fields[#fields] or '', fields = {unpack(fields, 1, #fields - extra)}}
end

local found, kept, last, next_what = {}, 0, cursor, nil
local function look_at(id, fields)
  local event = as_event(id, fields)
  if event then
    found[#found + 1] = event
  else
    kept = kept + 1
  end
end
if what == 'waiting' then
  local waiting = redis.call('ZRANGE', delayed, cursor, cursor + most - 1)
  for _, id in ipairs(waiting) do
    local body = redis.call('HGET', bodies, id)
    local read, fields = pcall(cmsgpack.unpack, body or '')
    look_at(id, read and fields)
  end
  next_what = #waiting > 0 and 'waiting' or (letters == '1' and 'dead' or 'done')
else
  local source = what == 'again' and retry or dead
  local entries = redis.call('XRANGE', source, cursor, '+', 'COUNT', most)
  for _, entry in ipairs(entries) do
    look_at(entry[1], entry[2])
    last = '(' .. entry[1]
  end
  next_what = #entries > 0 and what or (what == 'again' and 'waiting' or 'done')
end

local newest = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
local behind = ''
for name, info in pairs(known) do
  if name ~= group and newest and before(info['last-delivered-id'], newest[1]) then
    behind = name
  end
end
local pending, added, waits = {}, {}, 0
for _, event in ipairs(found) do
  if event.origin ~= '' and #redis.call('XRANGE', stream, event.origin, event.origin) > 0 then
    pending[#pending + 1] = event
  elseif behind == '' then
    added[#added + 1] = event
  else
    waits = waits + 1
  end
end

if acts == '1' and #pending + #added > 0 then
  -- The first write, one that needs no memory: so all of it is done where Redis has none left.
  redis.call('XACK', stream, group, '0-0')
  redis.call('XDEL', retry, '0-0')
  redis.call('HDEL', bodies, '\255')
  redis.call('ZREM', delayed, '\255')
  -- Of a group that nobody has: in one that is there, Valkey would make the consumer.
  local claimed = redis.pcall('XCLAIM', stream, '\255', nobody, 0, '0-0')
  if claimed.err and not string.find(claimed.err, 'NOGROUP') then
    redis.call('XCLAIM', stream, '\255', nobody, 0, '0-0')
  end
  local function set_others(to, more)
    for name, info in pairs(known) do
      if name ~= group and before(info['last-delivered-id'], to or '18446744073709551615') then
        local counted = info['entries-read']
        counted = counted and {'ENTRIESREAD', counted + more} or {}
        redis.call('XGROUP', 'SETID', stream, name, to or info['last-delivered-id'], unpack(counted))
      end
    end
  end
  local new = nil
  if #added > 0 then
    set_others(nil, 0)
  end
  for _, event in ipairs(added) do
    new = redis.call('XADD', stream, '*', unpack(event.fields))
  end
  if new then
    set_others(new, #added)
  end
  for _, event in ipairs(pending) do
    -- What comes after the group's place is read anyway.
    if not before(known[group]['last-delivered-id'], event.origin) then
      redis.call('XCLAIM', stream, group, nobody, 0, event.origin, 'IDLE', idle, 'RETRYCOUNT', 0, 'FORCE', 'JUSTID')
    end
  end
  for _, events in ipairs({added, pending}) do
    for _, event in ipairs(events) do
      if what == 'waiting' then
        redis.call('HDEL', bodies, event.id)
        redis.call('ZREM', delayed, event.id)
      elseif what == 'again' then
        redis.call('XACK', retry, group, event.id)
        redis.call('XDEL', retry, event.id)
      else
        redis.call('XDEL', dead, event.id)
      end
    end
  end
end
if what == 'waiting' then
  last = cursor + kept + waits + (acts == '1' and 0 or #pending + #added)
end
if next_what ~= what then
  last = next_what == 'waiting' and '0' or '-'
end
return {next_what, last, #pending, #added, kept, waits, waits > 0 and behind or ''}
