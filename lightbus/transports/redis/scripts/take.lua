-- Moves up to ARGV[1] calls from the queue KEYS[1] to the end of this process's own list KEYS[2], so that
-- none is lost should the process die while the reply is on its way. Returns the calls.
local calls = redis.call('LPOP', KEYS[1], ARGV[1])
if not calls then
  return {}
end
redis.call('RPUSH', KEYS[2], unpack(calls))
return calls
