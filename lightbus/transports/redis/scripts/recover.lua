-- Moves the calls of an absent process from its list to the end of this process's, unless its presence key is there;
-- where it has none left, strikes it off the register.
-- Returns the calls.
-- Rehearsed: a call must not leave one list where it can't be put into the other, nor be in both.
local theirs, mine, presence, register = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local member = ARGV[1]
if redis.call('EXISTS', presence) == 1 then
  return {}
end
local calls = redis.call('LRANGE', theirs, 0, 999)
if #calls > 0 then
  redis.call('LTRIM', theirs, 0, -1)
  redis.call('RPUSH', mine, unpack(calls))
  redis.call('LTRIM', theirs, #calls, -1)
else
  redis.call('SREM', register, member)
end
return calls
