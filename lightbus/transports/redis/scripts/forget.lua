-- Removes consumers of the group ARGV[1] of the stream KEYS[1] that hold nothing and have been idle for more
-- than ARGV[2] milliseconds; only the one named ARGV[3], unless that is empty. Returns how many were removed.
-- The last one stays: a Lightbus 1.x that starts destroys every group without a consumer.
-- An acknowledgement of nothing comes first, so that Redis 6.2 does it even where it is out of memory.
redis.call('XACK', KEYS[1], ARGV[1], '0-0')
local consumers = redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])
local removed = 0
for _, consumer in ipairs(consumers) do
  local info = {}
  for i = 1, #consumer, 2 do
    info[consumer[i]] = consumer[i + 1]
  end
  local is_named = ARGV[3] == '' or ARGV[3] == info['name']
  if is_named and info['pending'] == 0 and info['idle'] >= tonumber(ARGV[2]) and removed + 1 < #consumers then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], info['name'])
    removed = removed + 1
  end
end
return removed
