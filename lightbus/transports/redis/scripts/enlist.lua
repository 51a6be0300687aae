-- Adds names to the set of all APIs.
-- Begins with what is done even where Redis is out of memory, on a member that is no name since it is no text: a host
-- whose contracts can't be found takes no calls that would make room.
local schemas = KEYS[1]
redis.call('SREM', schemas, '\255')
return redis.call('SADD', schemas, unpack(ARGV)) -- names
