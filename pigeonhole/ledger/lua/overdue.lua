-- Find the pieces that need attention.
-- ARGV: time, job, how many waiting pieces may have lost their message, seconds until those are overdue again.
-- Returns the claimed pieces whose lease has expired, and as many overdue waiting pieces as may have lost theirs.
local expired = redis.call('ZRANGEBYSCORE', claimed, '-inf', now)
local lost = redis.call('ZRANGEBYSCORE', waiting, '-inf', now, 'LIMIT', 0, ARGV[3])
for _, piece in ipairs(lost) do redis.call('ZADD', waiting, now + ARGV[4], piece) end
return {expired, lost}
