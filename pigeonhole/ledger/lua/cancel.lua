-- Cancel a job that is not over: drop its pending pieces, keep its rows.
-- ARGV: time, job, seconds to keep it.
-- Returns the state before.
local state = redis.call('HGET', job, 'state')
if state == 'open' or state == 'closed' then cancel_job(ARGV[3]) end
return state
