-- No script of its own: the beginning of each that changes a group which no process may read.
-- Returns a process that reads a group of a stream, and how many ms ago it was heard of; nothing where none was heard of
-- within `silent` ms. The consumer `nobody` stands for a group without one. A Lightbus 1.x, which reads no retry stream,
-- is heard of only when it reads something: it counts for `silent_1x` ms.
local function reader_of(stream, retry, group, nobody, silent, silent_1x)
  local reads_both = {}
  for _, source in ipairs({retry, stream}) do
    local consumers = redis.pcall('XINFO', 'CONSUMERS', source, group)
    if source == stream and consumers.err then
      consumers = redis.call('XINFO', 'CONSUMERS', source, group)
    end
    for _, consumer in ipairs(consumers.err and {} or consumers) do
      local info = by_name(consumer)
      local name = info['name']
      if source == retry then
        reads_both[name] = true
      end
      if name ~= nobody and info['idle'] <= tonumber(reads_both[name] and silent or silent_1x) then
        return name, info['idle']
      end
    end
  end
end
