-- Cancel an unfinished job: drop its pending pieces, keep its rows.
-- ARGV: time, job, seconds until its keys expire.
-- Returns the job's previous state.
local state = redis.call('HGET', job, 'state')
if state == 'open' or state == 'closed' then cancel_job(ARGV[3]) end
return state
