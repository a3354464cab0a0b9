-- Cancel a job that is not over: drop its pending pieces, keep its rows.
-- ARGV: time, job, seconds to keep it.
-- Returns the state before.
local state = redis.call('HGET', job, 'state')
if state == 'open' or state == 'closed' then
  redis.call('DEL', waiting, claimed) -- first: a full Redis refuses what begins with a write that needs room
  redis.call('HSET', job, 'state', 'cancelled', 'finished', now)
  expire(ARGV[3])
end
return state
