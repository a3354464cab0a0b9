-- Return a claimed piece to those that wait.
-- ARGV: time, job, piece, seconds until it is overdue.
-- Returns 1 if somebody had it in hand.
if redis.call('ZREM', claimed, ARGV[3]) == 0 then return 0 end
redis.call('ZADD', waiting, now + ARGV[4], ARGV[3])
return 1
