-- No script of its own: the groups of a stream, each as XINFO tells of it, by their names.
local function groups_of(stream)
  local known = {}
  for _, each in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local info = by_name(each)
    known[info['name']] = info
  end
  return known
end
