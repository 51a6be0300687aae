-- Removes a group of a stream and all that is kept for it: what waits for a retry, its dead letters, how far it has read.
-- Does nothing where a process was heard of within `silent` milliseconds, other than the consumer `nobody` that stands
-- for a group without one: it would make the group again. Returns that process and how long it was idle; else nothing.
-- Rehearsed: what is kept must not go where the group would stay, nor the other way round.
local stream, retry, delayed, bodies, dead, groups = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local group, silent, nobody = ARGV[1], ARGV[2], ARGV[3]
for _, source in ipairs({stream, retry}) do
  local consumers = redis.pcall('XINFO', 'CONSUMERS', source, group)
  if source == stream and consumers.err then
    consumers = redis.call('XINFO', 'CONSUMERS', source, group)
  end
  for _, consumer in ipairs(consumers.err and {} or consumers) do
    local info = {}
    for i = 1, #consumer, 2 do
      info[consumer[i]] = consumer[i + 1]
    end
    if info['name'] ~= nobody and info['idle'] <= tonumber(silent) then
      return {info['name'], info['idle']}
    end
  end
end
redis.call('XACK', stream, group, '0-0')
redis.call('XGROUP', 'DESTROY', stream, '\255')
redis.call('HDEL', groups, '\255')
redis.call('DEL', retry, delayed, bodies, dead)
redis.call('HDEL', groups, group, group .. ' made', group .. ' service')
redis.call('XGROUP', 'DESTROY', stream, group)
return {}
