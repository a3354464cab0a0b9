-- Record a batch as pending. A batch that is on record stays as it is, whatever the job's state.
-- ARGV: time, job, piece, references, images, seconds until it is overdue.
-- Returns the job's state, and 1 if the batch is new.
local state = redis.call('HGET', job, 'state')
local number, digest = string.match(ARGV[3], '^(%d+)%-(%x+)')
if redis.call('HEXISTS', refs, number) == 1 or state ~= 'open' then
  return {state, 0}
end
-- The time without progress counts from when the job has pending work.
local idle = redis.call('ZCARD', waiting) + redis.call('ZCARD', claimed) == 0
redis.call('HSET', refs, number, ARGV[4])
redis.call('HSET', digests, number, digest)
redis.call('ZADD', waiting, now + ARGV[6], ARGV[3])
redis.call('HINCRBY', job, 'images', ARGV[5])
redis.call('HINCRBY', job, 'batches', 1)
redis.call('HSET', job, 'submitting', now)
if idle then redis.call('HSET', job, 'progressed', now) end
return {state, 1}
