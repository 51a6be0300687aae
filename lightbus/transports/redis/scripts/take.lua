-- Moves up to ARGV[1] calls from the queue KEYS[1] to the end of this process's own list KEYS[2], so that
-- none is lost should the process die while the reply is on its way. Returns the calls.
-- Rehearsed: a call must not leave the queue where it can't be put into the list, nor be in both.
local calls = redis.call('LRANGE', KEYS[1], 0, ARGV[1] - 1)
if #calls > 0 then
  redis.call('LPOP', KEYS[1], 0)
  redis.call('RPUSH', KEYS[2], unpack(calls))
  redis.call('LPOP', KEYS[1], #calls)
end
return calls
