-- No script of its own: what is noted about a group of a stream, in its hash `notes`. Earlier versions had one hash for all
-- groups of a stream, `groups`, with the name of the group before that of the field: it is read as well, and never written
-- to by those who listen, since a user of Redis who may write there can move the marks of others.

local function field_of(group, name)
  return name == 'read' and group or group .. ' ' .. name
end

-- Returns a note of a group; false where there is none.
local function noted(notes, groups, group, name)
  return redis.call('HGET', notes, name) or redis.call('HGET', groups, field_of(group, name))
end
