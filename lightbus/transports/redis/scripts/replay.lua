-- Moves the dead letter ARGV[1] from the stream KEYS[1] to its group's retry stream KEYS[2], without the five
-- fields that say why it is dead (one that was put there by hand may lack them) and with its attempts counted from the start. The entry is added first, so that
-- nothing happens where Redis is out of memory. Returns 0 where somebody else has taken it meanwhile.
local entry = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if not entry then
  return 0
end
local fields = entry[2]
local origin = ARGV[1]
if #fields >= 10 and fields[#fields - 1] == 'origin' then
  origin = fields[#fields]
  for _ = 1, 10 do
    table.remove(fields)
  end
end
for _, value in ipairs({'attempts', '0', 'origin', origin}) do
  table.insert(fields, value)
end
redis.call('XADD', KEYS[2], '*', unpack(fields))
redis.call('XDEL', KEYS[1], ARGV[1])
return 1
