-- Take the turn to sweep, unless another worker has it.
-- KEYS: the time when the turn was last taken. ARGV: time, empty for the server's clock; seconds that a turn lasts.
-- Returns 1 if it was taken.
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) + tonumber(time[2]) / 1000000
end
local since = redis.pcall('GET', KEYS[1])
since = type(since) == 'string' and tonumber(since)
-- The key's expiry is not enough: it is late if the clock stepped back. Times in the future and `nan` do not count.
if since and since <= now and now < since + ARGV[2] then return 0 end
redis.call('SET', KEYS[1], string.format('%.17g', now), 'PX', ARGV[2] * 1000)
return 1
