-- Close an open job if all of its batches are on record.
-- ARGV: time, job, number of batches, seconds until the keys of a finished job expire.
-- Returns the job's previous state, and the number of batches on record.
local state = redis.call('HGET', job, 'state')
local batches = tonumber(redis.call('HGET', job, 'batches') or 0)
if state == 'open' and batches == tonumber(ARGV[3]) then
  redis.call('HSET', job, 'state', 'closed', 'closed', now)
  finish_if_done(ARGV[4])
end
return {state, batches}
