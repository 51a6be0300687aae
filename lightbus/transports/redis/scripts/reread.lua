-- Reads the entries ARGV[3..] of the stream KEYS[1] once more, of which the consumer ARGV[2] of the group ARGV[1] was
-- given a lease by a reply that did not reach it; but none that it does not hold any more. Their leases begin anew.
-- JUSTID leaves the delivery counter as it is. Entries that were deleted meanwhile are acknowledged.
-- Returns for each entry its id, its fields and how often it was delivered.
local read = {}
for i = 3, #ARGV do
  local held = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1, ARGV[2])[1]
  local entry = held and redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i])[1]
  if entry then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'JUSTID')
    read[#read + 1] = {ARGV[i], entry[2], held[4]}
  elseif held then
    redis.call('XACK', KEYS[1], ARGV[1], ARGV[i])
  end
end
return read
