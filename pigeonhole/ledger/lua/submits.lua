-- Note that somebody submits to a job.
-- ARGV: time, job.
-- Returns 1 if it is open.
if redis.call('HGET', job, 'state') ~= 'open' then return 0 end
-- First: a full Redis lets a script go on that made room. A submitter that waits for room is not gone.
redis.call('ZREM', active, ARGV[2])
redis.call('ZADD', active, redis.call('HGET', job, 'created'), ARGV[2])
redis.call('HSET', job, 'submitting', now)
return 1
