-- Add an unfinished job to each list that has lost it, or whose key has another type.
-- ARGV: time, job.
-- Returns 1 if it was missing.
local state = redis.call('HGET', job, 'state')
if state ~= 'open' and state ~= 'closed' then return 0 end
local missing = 0
for _, list in ipairs({active, jobs}) do
  local known = redis.pcall('ZSCORE', list, ARGV[2])
  if type(known) == 'table' and string.find(known.err, 'WRONGTYPE', 1, true) then
    redis.call('DEL', list)
    known = false
  end
  if not known then
    redis.call('ZADD', list, tonumber(redis.call('HGET', job, 'created')) or now, ARGV[2])
    missing = 1
  end
end
return missing
