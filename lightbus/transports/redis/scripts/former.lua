-- No script of its own: forgets what earlier versions have noted of a group in the hash `groups`.
local function forget_old(groups, group)
  redis.call('HDEL', groups, group, group .. ' made', group .. ' began', group .. ' heir', group .. ' service',
    group .. ' placed', group .. ' surplus')
end
