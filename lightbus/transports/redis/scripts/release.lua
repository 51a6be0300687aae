-- Gives a call, taken but not started, back to the head of the queue, unless somebody else has already removed it from
-- this process's list. Returns 1 where it was given back.
-- Rehearsed: a call must not leave the list where it can't be put into the queue, nor be in both.
local queue, mine = KEYS[1], KEYS[2]
local call = ARGV[1]
if not redis.call('LPOS', mine, call) then
  return 0
end
redis.call('LREM', mine, 1, '')
redis.call('LPUSH', queue, call)
redis.call('LREM', mine, 1, call)
return 1
