-- No script of its own: removes a group of a stream and all that is kept for it. What is last is rehearsed first.
local function end_group(stream, retry, delayed, bodies, dead, groups, group)
  redis.call('XGROUP', 'DESTROY', stream, '\255')
  redis.call('HDEL', groups, '\255')
  redis.call('DEL', retry, delayed, bodies, dead)
  redis.call('HDEL', groups, group, group .. ' made', group .. ' began', group .. ' heir', group .. ' service',
    group .. ' placed', group .. ' surplus')
  redis.call('XGROUP', 'DESTROY', stream, group)
end
