-- Puts an answer on its caller's list, which is kept for some seconds.
-- That it is kept comes first, as a rehearsal, and so that it is done even where Redis is out of memory: the call has
-- run, and its caller takes the answer off the list at once.
local replies = KEYS[1]
local answer, seconds = ARGV[1], ARGV[2]
redis.call('EXPIRE', replies, seconds)
redis.call('LPUSH', replies, answer)
redis.call('EXPIRE', replies, seconds)
return 1
