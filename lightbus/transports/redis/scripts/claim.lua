-- Claims for a consumer one entry of a stream whose lease of so many milliseconds has run out, going on from an id.
-- One that was delivered more than `most_deliveries` times is left where it is, unless that was `max_deaths` times,
-- after which it does not run any more. Entries that were deleted from the stream meanwhile are acknowledged.
-- Returns where to go on, or '-' at the end, and, where one was claimed, its id, its fields and how often it was
-- delivered, this time included.
local source = KEYS[1]
local group, consumer, lease, cursor = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local most_deliveries, max_deaths = ARGV[5], ARGV[6]
local found = redis.call('XPENDING', source, group, 'IDLE', lease, cursor, '+', 1)[1]
if not found then
  return {'-'}
end
local id, delivered = found[1], found[4]
local entry = redis.call('XRANGE', source, id, id)
if #entry == 0 then
  redis.call('XACK', source, group, id)
  return {'(' .. id}
end
if delivered > tonumber(most_deliveries) and delivered < tonumber(max_deaths) then
  return {'(' .. id}
end
redis.call('XCLAIM', source, group, consumer, 0, id)
return {'(' .. id, id, entry[1][2], delivered + 1}
