-- No script of its own: takes entries out of a stream for a group that is done with them.

-- Rehearses what `settle` does.
local function rehearse_settling(source, group, is_retry)
  redis.call('XACK', source, group, '0-0')
  if is_retry == '1' then
    redis.call('XDEL', source, '0-0')
  end
end

-- Acknowledges an entry; from the group's own retry stream, it is deleted, too.
local function settle(source, group, entry, is_retry)
  redis.call('XACK', source, group, entry)
  if is_retry == '1' then
    redis.call('XDEL', source, entry)
  end
end
