-- Moves the calls of an absent process, from its list KEYS[1], to the end of this process's list KEYS[2],
-- unless its presence key KEYS[3] is there; where it has none left, strikes it (ARGV[1]) off the register KEYS[4].
-- Returns the calls.
-- Rehearsed: a call must not leave one list where it can't be put into the other, nor be in both.
if redis.call('EXISTS', KEYS[3]) == 1 then
  return {}
end
local calls = redis.call('LRANGE', KEYS[1], 0, 999)
if #calls > 0 then
  redis.call('LTRIM', KEYS[1], 0, -1)
  redis.call('RPUSH', KEYS[2], unpack(calls))
  redis.call('LTRIM', KEYS[1], #calls, -1)
else
  redis.call('SREM', KEYS[4], ARGV[1])
end
return calls
