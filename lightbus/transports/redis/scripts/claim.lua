-- Claims one entry of the stream KEYS[1] whose lease of ARGV[3] milliseconds has run out, for the consumer
-- ARGV[2] of the group ARGV[1], going on from the id ARGV[4]. One that was delivered more than ARGV[5] times is
-- left where it is, unless that was ARGV[6] times, after which it does not run any more. Entries that were
-- deleted from the stream meanwhile are acknowledged.
-- Returns where to go on, or '-' at the end, and, where one was claimed, its id, its fields and how often it was
-- delivered, this time included.
local found = redis.call('XPENDING', KEYS[1], ARGV[1], 'IDLE', ARGV[3], ARGV[4], '+', 1)[1]
if not found then
  return {'-'}
end
local id, delivered = found[1], found[4]
local entry = redis.call('XRANGE', KEYS[1], id, id)
if #entry == 0 then
  redis.call('XACK', KEYS[1], ARGV[1], id)
  return {'(' .. id}
end
if delivered > tonumber(ARGV[5]) and delivered < tonumber(ARGV[6]) then
  return {'(' .. id}
end
redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, id)
return {'(' .. id, id, entry[1][2], delivered + 1}
