-- Take the turn to sweep, unless somebody has it.
-- KEYS: who has it since when. ARGV: time; empty: the server's own clock; seconds that a turn lasts.
-- Returns 1 if it was taken.
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) + tonumber(time[2]) / 1000000
end
local since = redis.pcall('GET', KEYS[1])
since = type(since) == 'string' and tonumber(since)
-- Not by the key's expiry: a clock that stepped back makes that late. Nor does a time ahead of now, or `nan`, count.
if since and since <= now and now < since + ARGV[2] then return 0 end
redis.call('SET', KEYS[1], string.format('%.17g', now), 'PX', ARGV[2] * 1000)
return 1
