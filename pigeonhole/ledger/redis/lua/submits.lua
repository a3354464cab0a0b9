-- Record a heartbeat of a job's submitter.
-- ARGV: time, job.
-- Returns 1 if it is open.
if redis.call('HGET', job, 'state') ~= 'open' then return 0 end
-- First, because a full Redis allows writes to a script that has freed memory: heartbeats must continue then.
redis.call('ZREM', active, ARGV[2])
redis.call('ZADD', active, redis.call('HGET', job, 'created'), ARGV[2])
redis.call('HSET', job, 'submitting', now)
return 1
