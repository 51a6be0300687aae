-- Changes the pauses of listeners of a service, which the hash `pauses` has by their names, if all of them are as they
-- were seen. Of each there are three arguments: the name, the pause that was seen and the new one; none is empty.
-- Returns 0 where one has changed meanwhile.
-- Rehearsed: no pause must end without another one that takes its place.
local pauses = KEYS[1]
local kept, ended = {}, {}
for i = 1, #ARGV, 3 do -- changes
  if (redis.call('HGET', pauses, ARGV[i]) or '') ~= ARGV[i + 1] then
    return 0
  end
  if ARGV[i + 2] == '' then
    ended[#ended + 1] = ARGV[i]
  else
    kept[#kept + 1] = ARGV[i]
    kept[#kept + 1] = ARGV[i + 2]
  end
end
if #ended > 0 then
  redis.call('HDEL', pauses, '\255')
end
if #kept > 0 then
  redis.call('HSET', pauses, unpack(kept))
end
if #ended > 0 then
  redis.call('HDEL', pauses, unpack(ended))
end
return 1
