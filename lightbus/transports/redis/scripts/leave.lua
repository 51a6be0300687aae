-- Removes the presence key KEYS[1] of the process ARGV[1] and strikes it off the register KEYS[2]; where it was the
-- last one, removes KEYS[3], by which callers see that somebody serves the API, so that calls fail at once.
-- Rehearsed, so that who may not leave stays signed on until its keys run out.
local count = redis.call('SCARD', KEYS[2])
redis.call('SREM', KEYS[2], '')
redis.call('DEL', KEYS[1])
if redis.call('SREM', KEYS[2], ARGV[1]) == count then
  redis.call('DEL', KEYS[3])
end
