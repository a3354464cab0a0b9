-- Renew the leases of claimed pieces.
-- ARGV: time, job, seconds of the lease, the pieces.
-- Returns how many of them are claimed.
local held = 0
for i = 4, #ARGV do
  if redis.call('ZREM', claimed, ARGV[i]) == 1 then -- first: a full Redis lets a script go on that made room
    redis.call('ZADD', claimed, now + ARGV[3], ARGV[i])
    held = held + 1
  end
end
return held
