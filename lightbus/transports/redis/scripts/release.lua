-- Gives the call ARGV[1], taken but not started, back to the head of the queue KEYS[1], unless somebody
-- else has already removed it from the list KEYS[2]. Returns 1 where it was given back.
-- Rehearsed: a call must not leave the list where it can't be put into the queue, nor be in both.
if not redis.call('LPOS', KEYS[2], ARGV[1]) then
  return 0
end
redis.call('LREM', KEYS[2], 1, '')
redis.call('LPUSH', KEYS[1], ARGV[1])
redis.call('LREM', KEYS[2], 1, ARGV[1])
return 1
