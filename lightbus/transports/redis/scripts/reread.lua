-- Reads entries of a stream once more of which a consumer was given a lease by a reply that did not reach it; but none
-- that it does not hold any more. Their leases begin anew.
-- JUSTID leaves the delivery counter as it is. Entries that were deleted meanwhile are acknowledged.
-- Returns for each entry its id, its fields and how often it was delivered.
local source = KEYS[1]
local group, consumer = ARGV[1], ARGV[2]
local read = {}
for i = 3, #ARGV do -- ids
  local id = ARGV[i]
  local held = redis.call('XPENDING', source, group, id, id, 1, consumer)[1]
  local entry = held and redis.call('XRANGE', source, id, id)[1]
  if entry then
    redis.call('XCLAIM', source, group, consumer, 0, id, 'JUSTID')
    read[#read + 1] = {id, entry[2], held[4]}
  elseif held then
    redis.call('XACK', source, group, id)
  end
end
return read
