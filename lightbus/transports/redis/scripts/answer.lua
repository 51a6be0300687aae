-- Puts the answer ARGV[1] on its caller's list KEYS[1], which is kept for ARGV[2] seconds.
-- That it is kept comes first, as a rehearsal, and so that it is done even where Redis is out of memory: the call has
-- run, and its caller takes the answer off the list at once.
redis.call('EXPIRE', KEYS[1], ARGV[2])
redis.call('LPUSH', KEYS[1], ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 1
