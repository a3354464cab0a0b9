-- Close an open job if all of its batches are on record.
-- ARGV: time, job, batches, seconds to keep a finished job.
-- Returns the state before, and how many batches are on record.
local state = redis.call('HGET', job, 'state')
local batches = tonumber(redis.call('HGET', job, 'batches') or 0)
if state == 'open' and batches == tonumber(ARGV[3]) then
  redis.call('HSET', job, 'state', 'closed', 'closed', now)
  finish_if_done(ARGV[4])
end
return {state, batches}
