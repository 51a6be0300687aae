-- Returns 1 where the contract KEYS[1] comes from a Lightbus 1.x: nobody in the sorted set KEYS[2], where those
-- who stand for a contract are noted with its digest at the end of their names, stands for this one.
local contract = redis.call('GET', KEYS[1])
if not contract then
  return 0
end
local time = redis.call('TIME')
local digest = string.sub(redis.sha1hex(contract), 1, 16)
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], time[1] + time[2] / 1000000, '+inf')) do
  if string.sub(name, -16) == digest then
    return 0
  end
end
return 1
