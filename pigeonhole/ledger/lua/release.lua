-- Return a claimed piece to those that wait.
-- ARGV: time, job, piece, seconds until it is overdue, 1 if it could not be tried.
-- Returns 1 if somebody had it in hand.
if redis.call('ZREM', claimed, ARGV[3]) == 0 then return 0 end
redis.call('ZADD', waiting, now + ARGV[4], ARGV[3])
if ARGV[5] == '1' then
  redis.call('HINCRBY', parts, 'untried:' .. row_of(ARGV[3]), 1)
  redis.call('HINCRBY', job, 'untried', 1)
end
return 1
