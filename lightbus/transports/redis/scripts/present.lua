-- Shows for some milliseconds by a presence key that a process lives, by the register that it serves an API, and by the
-- key `served` that somebody does. That key has the time of the last look for processes that are absent, if any.
-- Begins with what is done even where Redis is out of memory: else others would take the calls of a living process.
-- Rehearsed: nobody is in the register, or shown as serving, whose presence can't be shown. But a register that is
-- something else keeps nobody from serving.
-- Returns 2 if it is this process's turn to look at others: `now` is not 0, nobody has for `pause` milliseconds, and
-- there are others in the register. Else 1.
local presence, register, served = KEYS[1], KEYS[2], KEYS[3]
local member, milliseconds, now, pause = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
redis.call('PEXPIRE', presence, milliseconds)
redis.call('SET', presence, 1, 'XX', 'PX', milliseconds)
local kind = redis.call('TYPE', register).ok
local is_register = kind == 'set' or kind == 'none'
local has_others = false
if is_register then
  local count = redis.call('SCARD', register)
  has_others = count + redis.call('SADD', register, member) > 1
end
redis.call('SET', presence, 1, 'PX', milliseconds)
-- It may hold something else, or a version before this one has set it to 1.
local last = redis.pcall('SET', served, now, 'PX', milliseconds, 'GET')
local ago = now - (tonumber(type(last) == 'string' and last or '') or 0)
local is_turn = now ~= '0' and (ago < 0 or ago >= tonumber(pause))
if not is_turn or type(last) == 'table' then
  redis.call('SET', served, is_turn and now or last or 1, 'PX', milliseconds)
end
if not is_register then
  return redis.error_reply('WRONGTYPE ' .. register .. ' is not a set')
end
return is_turn and has_others and 2 or 1
