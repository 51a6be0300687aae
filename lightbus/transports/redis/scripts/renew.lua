-- Renews the lease of the entries ARGV[3..] of the stream KEYS[1] for the group ARGV[1], but only of those that
-- the consumer ARGV[2] still holds: what another process has claimed is not taken back.
-- JUSTID leaves the delivery counter as it is. Returns how many were renewed.
local renewed = 0
for i = 3, #ARGV do
  local held = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1, ARGV[2])
  if #held > 0 then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'JUSTID')
    renewed = renewed + 1
  end
end
return renewed
