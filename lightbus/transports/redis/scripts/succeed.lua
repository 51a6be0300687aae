-- begins with replies.lua, readers.lua, groups.lua, notes.lua, former.lua
-- Lets the group `heir` take the place of a group of a stream. Where there is no heir yet, it is made where the group
-- stands. Where there is one, it is going to get only what came before it began; it has had the rest itself.
-- The hash `notes` of the group names the heir and up to which id it gets things, so that a move that was cut short is
-- gone on with.
-- Returns 'done' where that is so; 'gone' where there is no such group any more; 'read' with a process that reads the
-- group and how many ms ago it was heard of; 'moved' with another heir; or 'unknown' where nothing says when the heir
-- began.
-- The group reads nothing any more once the heir stands there: its place is moved behind all ids. Rehearsed, by putting it
-- where it is: it must not stay where its heir reads the same.
local stream, retry, heirs_retry = KEYS[1], KEYS[2], KEYS[3]
local notes, heirs_notes, groups = KEYS[4], KEYS[5], KEYS[6]
local group, heir, last, nobody, silent, silent_1x = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local known = groups_of(stream)
if not known[group] then
  return {'gone'}
end
local reader, idle = reader_of(stream, retry, group, nobody, silent, silent_1x)
if reader then
  return {'read', reader, idle}
end
local began = noted(heirs_notes, groups, heir, 'began')
local other = string.match(noted(notes, groups, group, 'heir') or '', '^(.*) ')
if other and known[other] then
  return other == heir and {'done'} or {'moved', other}
end
redis.call('XACK', stream, group, '0-0')
if known[heir] then
  if (began or '') == '' then
    return {'unknown'}
  end
  redis.call('HSET', notes, 'heir', heir .. ' ' .. began)
  return {'done'}
end
local place = known[group]['last-delivered-id']
local counted = known[group]['entries-read']
counted = counted and {'ENTRIESREAD', counted} or {}
redis.call('XGROUP', 'SETID', stream, group, place, unpack(counted))
local since, service = noted(notes, groups, group, 'began'), noted(notes, groups, group, 'service')
redis.call('HDEL', groups, '\255')
redis.call('HSET', heirs_notes, 'read', place, 'placed', place, 'made', '1', 'began', since or '', 'service', service or '')
redis.call('HSET', notes, 'heir', heir .. ' ' .. last)
forget_old(groups, heir)
local made = redis.pcall('XGROUP', 'CREATE', heirs_retry, heir, '0', 'MKSTREAM')
if made.err and not string.find(made.err, 'BUSYGROUP') then
  return made
end
redis.call('XGROUP', 'CREATE', stream, heir, place, unpack(counted))
redis.call('XGROUP', 'SETID', stream, group, last)
return {'done'}
