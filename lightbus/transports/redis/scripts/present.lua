-- Shows for some milliseconds by a presence key that a process lives, by the register that it serves an API, and by the
-- key `served` that somebody does.
-- Begins with what is done even where Redis is out of memory: else others would take the calls of a living process.
-- Rehearsed: nobody is in the register, or shown as serving, whose presence can't be shown. But a register that is
-- something else keeps nobody from serving.
local presence, register, served = KEYS[1], KEYS[2], KEYS[3]
local member, milliseconds = ARGV[1], ARGV[2]
redis.call('PEXPIRE', presence, milliseconds)
redis.call('SET', presence, 1, 'XX', 'PX', milliseconds)
local kind = redis.call('TYPE', register).ok
local is_register = kind == 'set' or kind == 'none'
if is_register then
  redis.call('SADD', register, member)
end
redis.call('SET', presence, 1, 'PX', milliseconds)
redis.call('SET', served, 1, 'PX', milliseconds)
if not is_register then
  return redis.error_reply('WRONGTYPE ' .. register .. ' is not a set')
end
return 1
