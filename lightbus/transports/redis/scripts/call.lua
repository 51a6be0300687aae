-- Sets the key whose removal is the right to run a call, for some seconds, and pushes the call onto its queue: a worker
-- that takes the call must find the key, and drops the call where it does not. The value of the key is `margin`.
-- Returns the length of the queue.
-- The key comes first, since alone it changes nothing: a call that can't be pushed then is not made.
local queue, expiry = KEYS[1], KEYS[2]
local margin, seconds, call = ARGV[1], ARGV[2], ARGV[3]
redis.call('SET', expiry, margin, 'EX', seconds)
return redis.call('RPUSH', queue, call)
