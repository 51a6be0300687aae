-- begins with replies.lua
-- Removes consumers of a group that hold nothing and have been idle for more than `idle` milliseconds; only the one
-- named `only`, unless that is empty. Returns how many were removed.
-- The last one stays, or where `stays` is a name, a consumer of that name stays instead of it: a Lightbus 1.x that
-- starts destroys every group without a consumer.
-- An acknowledgement of nothing comes first, so that Redis 6.2 does it even where it is out of memory.
local source = KEYS[1]
local group, idle, only, stays = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
redis.call('XACK', source, group, '0-0')
local consumers = redis.call('XINFO', 'CONSUMERS', source, group)
local left = #consumers
local removed = 0
for _, consumer in ipairs(consumers) do
  local info = by_name(consumer)
  local is_named = only == '' or only == info['name']
  if is_named and info['pending'] == 0 and info['idle'] >= tonumber(idle) then
    if left == 1 and stays ~= '' then
      redis.call('XGROUP', 'CREATECONSUMER', source, group, stays)
      left = 2
    end
    if left > 1 then
      redis.call('XGROUP', 'DELCONSUMER', source, group, info['name'])
      left = left - 1
      removed = removed + 1
    end
  end
end
return removed
