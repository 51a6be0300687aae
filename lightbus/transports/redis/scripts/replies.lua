-- No script of its own: how what Redis replies is read.

-- Returns the values of a reply that is a list of names and values, by their names.
local function by_name(reply)
  local values = {}
  for i = 1, #reply, 2 do
    values[reply[i]] = reply[i + 1]
  end
  return values
end

-- Tells whether an id of a stream is less than another.
local function before(a, b)
  local a_ms, a_seq = string.match(a, '^(%d+)%-?(%d*)$')
  local b_ms, b_seq = string.match(b, '^(%d+)%-?(%d*)$')
  a_ms, a_seq = tonumber(a_ms) or 0, tonumber(a_seq) or 0
  b_ms, b_seq = tonumber(b_ms) or 0, tonumber(b_seq) or 0
  return a_ms < b_ms or (a_ms == b_ms and a_seq < b_seq)
end
