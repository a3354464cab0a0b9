-- Claim a pending piece. A claim excludes no other worker: it shows the sweep that a worker has the piece.
-- ARGV: time, job, piece, seconds of the lease.
-- Returns the references of the whole batch, or an empty string if they are lost; nothing if the piece is not pending.
if not pending(ARGV[3]) then return false end
redis.call('ZREM', waiting, ARGV[3])
redis.call('ZADD', claimed, now + ARGV[4], ARGV[3])
redis.call('HSETNX', job, 'started', now)
return redis.call('HGET', refs, number_of(ARGV[3])) or ''
