-- No script of its own: how often a group of a stream was made.

-- Returns how often it was made, as text: by this version and by earlier ones, whose notes are in the hash `groups`.
local function made_of(notes, groups, group)
  local made = tonumber(redis.call('HGET', notes, 'made') or 0) or 0
  return string.format('%.0f', made + (tonumber(redis.call('HGET', groups, group .. ' made') or 0) or 0))
end
