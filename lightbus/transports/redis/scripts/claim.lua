-- Claims one entry of the stream KEYS[1] whose lease of ARGV[3] milliseconds has run out, for the consumer
-- ARGV[2] of the group ARGV[1], going on from the cursor ARGV[4]. Entries that were deleted from the stream
-- meanwhile are acknowledged (Redis 6.2 hands them out as nil; 7.0 drops them by itself).
-- Returns the next cursor and, where one was claimed, its id, its fields and how often it was delivered.
local found = redis.call('XAUTOCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4], 'COUNT', 1, 'JUSTID')
local id = found[2][1]
if not id then
  return {found[1]}
end
local entry = redis.call('XRANGE', KEYS[1], id, id)
if #entry == 0 then
  redis.call('XACK', KEYS[1], ARGV[1], id)
  return {found[1]}
end
redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, id)
local held = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1)
return {found[1], id, entry[1][2], held[1][4]}
