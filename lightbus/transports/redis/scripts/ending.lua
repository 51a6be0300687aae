-- No script of its own: removes a group of a stream and all that is kept for it. What is last is rehearsed first. What
-- may be large is unlinked: to free 100,000 bodies keeps Redis for a tenth of a second.
local function end_group(stream, retry, delayed, bodies, dead, notes, groups, group)
  redis.call('XGROUP', 'DESTROY', stream, '\255')
  redis.call('HDEL', groups, '\255')
  redis.call('UNLINK', retry, delayed, bodies, dead, notes)
  forget_old(groups, group)
  redis.call('XGROUP', 'DESTROY', stream, group)
end
