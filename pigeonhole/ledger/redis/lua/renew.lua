-- Renew the leases of claimed pieces.
-- ARGV: time, job, seconds of the lease, the pieces.
-- Returns the number of these pieces that are claimed.
local held = 0
for i = 4, #ARGV do
  if redis.call('ZREM', claimed, ARGV[i]) == 1 then -- first: then a full Redis allows the write
    redis.call('ZADD', claimed, now + ARGV[3], ARGV[i])
    held = held + 1
  end
end
return held
