-- Removes the keys whose removal is the right to run a call.
-- Returns for each, in turn, how many milliseconds it had left and its value: none if it was gone, and 0 if it could not
-- be removed, since it holds something else.
-- The first removal is the one that may be refused: Redis allows the others what it has allowed there.
local removed = {}
for i = 1, #KEYS do -- expiries
  removed[2 * i - 1] = redis.call('PTTL', KEYS[i])
  local value
  if i == 1 then
    value = redis.call('GETDEL', KEYS[i])
  else
    value = redis.pcall('GETDEL', KEYS[i])
  end
  if type(value) == 'table' then
    value = 0
  end
  removed[2 * i] = value
end
return removed
