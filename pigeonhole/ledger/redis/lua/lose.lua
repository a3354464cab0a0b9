-- Record that the process with a claimed piece was lost: split the piece, or count the losses of a single image.
-- ARGV: time, job, piece, seconds until the parts are overdue, the parts.
-- Returns 0 if there are parts. Without parts, the piece waits again: returns its number of losses. Returns nothing if
-- the piece is not claimed.
if redis.call('ZREM', claimed, ARGV[3]) == 0 then return false end
local row = row_of(ARGV[3])
if #ARGV == 4 then
  redis.call('ZADD', waiting, now + ARGV[4], ARGV[3])
  return redis.call('HINCRBY', parts, 'losses:' .. row, 1)
end
local keys = {}
for i = 5, #ARGV do
  redis.call('ZADD', waiting, now + ARGV[4], ARGV[i])
  keys[#keys + 1] = row_of(ARGV[i])
end
local number = number_of(ARGV[3])
local split = {}
for key in string.gmatch(redis.call('HGET', parts, number) or row, '[^,]+') do
  split[#split + 1] = key == row and table.concat(keys, ',') or key
end
redis.call('HSET', parts, number, table.concat(split, ','))
return 0
