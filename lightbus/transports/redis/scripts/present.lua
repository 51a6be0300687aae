-- Shows for ARGV[2] milliseconds by KEYS[1] that the process ARGV[1] lives, by the register KEYS[2] that it serves an
-- API, and by KEYS[3] that somebody does.
-- Begins with what is done even where Redis is out of memory: else others would take the calls of a living process.
-- Rehearsed: nobody is in the register, or shown as serving, whose presence can't be shown. But a register that is
-- something else keeps nobody from serving.
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('SET', KEYS[1], 1, 'XX', 'PX', ARGV[2])
local kind = redis.call('TYPE', KEYS[2]).ok
local is_register = kind == 'set' or kind == 'none'
if is_register then
  redis.call('SADD', KEYS[2], ARGV[1])
end
redis.call('SET', KEYS[1], 1, 'PX', ARGV[2])
redis.call('SET', KEYS[3], 1, 'PX', ARGV[2])
if not is_register then
  return redis.error_reply('WRONGTYPE ' .. KEYS[2] .. ' is not a set')
end
return 1
