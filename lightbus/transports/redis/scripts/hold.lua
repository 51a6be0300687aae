-- Takes the key KEYS[1] for the holder ARGV[1] for ARGV[2] milliseconds, unless somebody else has it.
-- Returns 1 where the holder has it now, also where it had it before; else 0.
local holder = redis.call('GET', KEYS[1])
if holder then
  return holder == ARGV[1] and 1 or 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
