-- Removes the presence key of a process and strikes it off the register; where it was the last one, removes the key by
-- which callers see that somebody serves the API, so that calls fail at once.
-- Rehearsed, so that who may not leave stays signed on until its keys run out.
local presence, register, served = KEYS[1], KEYS[2], KEYS[3]
local member = ARGV[1]
local count = redis.call('SCARD', register)
redis.call('SREM', register, '')
redis.call('DEL', presence)
if redis.call('SREM', register, member) == count then
  redis.call('DEL', served)
end
