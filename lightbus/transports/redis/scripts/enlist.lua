-- Adds the names ARGV to the set KEYS[1] of all APIs.
-- Begins with what is done even where Redis is out of memory, on a member that is no name since it is no text: a host
-- whose contracts can't be found takes no calls that would make room.
redis.call('SREM', KEYS[1], '\255')
return redis.call('SADD', KEYS[1], unpack(ARGV))
