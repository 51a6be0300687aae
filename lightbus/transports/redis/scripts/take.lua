-- Moves up to `most` calls from the queue to the end of this process's own list, so that none is lost should the
-- process die while the reply is on its way. Returns the calls.
-- Rehearsed: a call must not leave the queue where it can't be put into the list, nor be in both.
local queue, mine = KEYS[1], KEYS[2]
local most = ARGV[1]
local calls = redis.call('LRANGE', queue, 0, most - 1)
if #calls > 0 then
  redis.call('LPOP', queue, 0)
  redis.call('RPUSH', mine, unpack(calls))
  redis.call('LPOP', queue, #calls)
end
return calls
