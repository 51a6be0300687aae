-- Makes a consumer hold entries of a stream that it has read from a group of this name that was destroyed since; but
-- none that somebody else holds by now.
local source = KEYS[1]
local group, consumer = ARGV[1], ARGV[2]
for i = 3, #ARGV do -- ids
  local id = ARGV[i]
  if #redis.call('XPENDING', source, group, id, id, 1) == 0 then
    redis.call('XCLAIM', source, group, consumer, 0, id, 'FORCE', 'JUSTID')
  end
end
return 1
