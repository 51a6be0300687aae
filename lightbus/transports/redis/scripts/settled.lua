-- No script of its own; goes with made.lua.

-- Tells whether somebody else has already finished an entry: it is not pending, although the group is the one that it was
-- read from (the hash `notes` says how often it was made). Returns besides what Redis says where it refuses to look.
local function is_settled(source, group, entry, notes, groups, made)
  local held = redis.pcall('XPENDING', source, group, entry, entry, 1)
  if held.err then
    return false, not string.find(held.err, 'NOGROUP') and held or nil
  end
  return #held == 0 and made_of(notes, groups, group) == made
end
