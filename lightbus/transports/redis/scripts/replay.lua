-- Moves a dead letter to its group's retry stream, without the five fields that say why it is dead (one that was put
-- there by hand may lack them) and with its attempts counted from the start. With fields of its own, an event that
-- somebody has edited takes its place. Returns 0 where somebody else has taken it meanwhile.
-- Rehearsed: it is never in both streams. Done even where Redis is out of memory: what is handled again is gone then.
local dead, retry = KEYS[1], KEYS[2]
local letter = ARGV[1]
local entry = redis.call('XRANGE', dead, letter, letter)[1]
if not entry then
  return 0
end
local fields = entry[2]
local origin = letter
if #fields >= 10 and fields[#fields - 1] == 'origin' then
  origin = fields[#fields]
  for _ = 1, 10 do
    table.remove(fields)
  end
end
if #ARGV > 1 then
  fields = {}
  for i = 2, #ARGV do -- fields
    fields[#fields + 1] = ARGV[i]
  end
end
for _, value in ipairs({'attempts', '0', 'origin', origin}) do
  table.insert(fields, value)
end
redis.call('XDEL', dead, '0-0')
redis.call('XADD', retry, '*', unpack(fields))
redis.call('XDEL', dead, letter)
return 1
