-- No script of its own: returns the error about a key that holds something that is not Lightbus's; nothing where all do.
local function wrong_kind(kinds)
  for key, wanted in pairs(kinds) do
    local kind = redis.call('TYPE', key).ok
    if kind ~= 'none' and kind ~= wanted then
      return redis.error_reply('WRONGTYPE ' .. key .. ' is not a ' .. wanted)
    end
  end
end
