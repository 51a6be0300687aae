-- Removes consumers of the group ARGV[1] of the stream KEYS[1] that hold nothing and have been idle for more
-- than ARGV[2] milliseconds; only the one named ARGV[3], unless that is empty. Returns how many were removed.
-- The last one stays, or where ARGV[4] is a name, a consumer of that name stays instead of it: a Lightbus 1.x that
-- starts destroys every group without a consumer.
-- An acknowledgement of nothing comes first, so that Redis 6.2 does it even where it is out of memory.
redis.call('XACK', KEYS[1], ARGV[1], '0-0')
local consumers = redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])
local left = #consumers
local removed = 0
for _, consumer in ipairs(consumers) do
  local info = {}
  for i = 1, #consumer, 2 do
    info[consumer[i]] = consumer[i + 1]
  end
  local is_named = ARGV[3] == '' or ARGV[3] == info['name']
  if is_named and info['pending'] == 0 and info['idle'] >= tonumber(ARGV[2]) then
    if left == 1 and ARGV[4] ~= '' then
      redis.call('XGROUP', 'CREATECONSUMER', KEYS[1], ARGV[1], ARGV[4])
      left = 2
    end
    if left > 1 then
      redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], info['name'])
      left = left - 1
      removed = removed + 1
    end
  end
end
return removed
