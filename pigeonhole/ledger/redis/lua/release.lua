-- Release a claimed piece: it waits again.
-- ARGV: time, job, piece, seconds until it is overdue, 1 if its isolation run could not start.
-- Returns 1 if it was claimed.
if redis.call('ZREM', claimed, ARGV[3]) == 0 then return 0 end
redis.call('ZADD', waiting, now + ARGV[4], ARGV[3])
if ARGV[5] == '1' then
  redis.call('HINCRBY', parts, 'untried:' .. row_of(ARGV[3]), 1)
  redis.call('HINCRBY', job, 'untried', 1)
end
return 1
