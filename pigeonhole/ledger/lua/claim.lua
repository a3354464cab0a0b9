-- Claim a pending piece. A claim keeps nobody out: it tells the sweep that a worker has the piece in hand.
-- ARGV: time, job, piece, seconds of the lease.
-- Returns the references of the whole batch, empty where they are lost; nothing where the piece is not pending.
if not pending(ARGV[3]) then return false end
redis.call('ZREM', waiting, ARGV[3])
redis.call('ZADD', claimed, now + ARGV[4], ARGV[3])
redis.call('HSETNX', job, 'started', now)
return redis.call('HGET', refs, number_of(ARGV[3])) or ''
