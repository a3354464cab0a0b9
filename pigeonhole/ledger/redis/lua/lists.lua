-- Remove keys that are no sorted sets.
-- KEYS: the keys that should be sorted sets.
-- Returns the removed keys.
local removed = {}
for _, key in ipairs(KEYS) do
  local size = redis.pcall('ZCARD', key)
  if type(size) == 'table' and string.find(size.err, 'WRONGTYPE', 1, true) then
    redis.call('DEL', key)
    removed[#removed + 1] = key
  end
end
return removed
