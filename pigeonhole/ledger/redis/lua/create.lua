-- Open a job, unless it is on record already.
-- ARGV: time, job, version of the record, model, sources as JSON.
-- Returns 1 if it is new.
if redis.call('HEXISTS', job, 'v') == 1 then return 0 end
redis.call('HSET', job, 'v', ARGV[3], 'model', ARGV[4], 'sources', ARGV[5], 'state', 'open', 'created', now, 'submitting', now)
redis.call('ZADD', jobs, now, ARGV[2])
redis.call('ZADD', active, now, ARGV[2])
return 1
