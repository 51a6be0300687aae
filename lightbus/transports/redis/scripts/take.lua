-- Moves up to `most` calls from the queue to the end of this process's own list, so that none is lost should the
-- process die while the reply is on its way. Where fewer wait than it has room for, it leaves the other processes in
-- the register their share: each is about to look as well. Returns the calls, and behind them how many are left, if
-- some are.
-- Rehearsed: a call must not leave the queue where it can't be put into the list, nor be in both.
local queue, mine, register = KEYS[1], KEYS[2], KEYS[3]
local most = ARGV[1]
local calls = redis.call('LRANGE', queue, 0, most - 1)
local found = #calls
if found == 0 then
  return calls
end
if found > 1 and found < tonumber(most) then
  -- Those of Lightbus 1.x are in no register.
  local processes = math.max(1, redis.call('SCARD', register))
  for i = found, math.ceil(found / processes) + 1, -1 do
    calls[i] = nil
  end
end
redis.call('LPOP', queue, 0)
redis.call('RPUSH', mine, unpack(calls))
redis.call('LPOP', queue, #calls)
if #calls < found then
  calls[#calls + 1] = found - #calls
end
return calls
