-- Adds an event to a stream, unless one with its id was added within the last so many milliseconds: then the key
-- `fired` holds that one's id in the stream. Returns the id in the stream.
-- With `before`, the key that holds the id of another event: it is not added unless that one was.
-- With `waits`, a WAIT follows, which counts only what its own connection has written: so an event that was there is
-- followed by a write, too, which changes nothing.
-- Rehearsed: what is stored is remembered, so that it is not stored again where its sender was refused.
local stream, fired = KEYS[1], KEYS[2]
local milliseconds, waits = ARGV[1], ARGV[2]
local known = redis.call('GET', fired)
if known then
  if waits == '1' then
    redis.call('SET', fired, known, 'KEEPTTL')
  end
  return known
end
for i = 3, #KEYS do -- before
  if not redis.call('GET', KEYS[i]) then
    return redis.error_reply('HELD the event before it was not stored')
  end
end
local fields = {}
for i = 3, #ARGV do -- fields
  fields[#fields + 1] = ARGV[i]
end
redis.call('SET', fired, '', 'XX', 'PX', milliseconds)
local id = redis.call('XADD', stream, '*', unpack(fields))
redis.call('SET', fired, id, 'PX', milliseconds)
return id
