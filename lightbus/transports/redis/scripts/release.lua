-- Gives the call ARGV[1], taken but not started, back to the head of the queue KEYS[1], unless somebody
-- else has already removed it from the list KEYS[2]. Returns 1 where it was given back.
if redis.call('LREM', KEYS[2], 1, ARGV[1]) == 0 then
  return 0
end
redis.call('LPUSH', KEYS[1], ARGV[1])
return 1
