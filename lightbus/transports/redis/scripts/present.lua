-- Shows for ARGV[2] milliseconds by KEYS[1] that the process ARGV[1] lives, by the register KEYS[2] that it serves an
-- API, and by KEYS[3] that somebody does.
-- Begins with what is done even where Redis is out of memory: else others would take the calls of a living process.
-- Rehearsed: nobody is in the register, or shown as serving, whose presence can't be shown.
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('SET', KEYS[1], 1, 'XX', 'PX', ARGV[2])
redis.call('SADD', KEYS[2], ARGV[1])
redis.call('SET', KEYS[1], 1, 'PX', ARGV[2])
redis.call('SET', KEYS[3], 1, 'PX', ARGV[2])
return 1
