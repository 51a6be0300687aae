-- Renews the lease of entries of a stream, but only of those that the consumer still holds: what another process has
-- claimed is not taken back.
-- JUSTID leaves the delivery counter as it is. Returns how many were renewed.
local source = KEYS[1]
local group, consumer = ARGV[1], ARGV[2]
local renewed = 0
for i = 3, #ARGV do -- ids
  local id = ARGV[i]
  local held = redis.call('XPENDING', source, group, id, id, 1, consumer)
  if #held > 0 then
    redis.call('XCLAIM', source, group, consumer, 0, id, 'JUSTID')
    renewed = renewed + 1
  end
end
return renewed
