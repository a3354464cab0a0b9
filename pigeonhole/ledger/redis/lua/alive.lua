-- List the workers that announced themselves lately.
-- KEYS: the list of workers. ARGV: time, seconds after which a silent worker counts as lost.
-- Returns their names.
local workers, now = KEYS[1], tonumber(ARGV[1])
local gone = redis.pcall('ZREMRANGEBYSCORE', workers, '-inf', now - ARGV[2])
if type(gone) == 'table' then
  -- A key of another type is not ours; the next announcement removes it.
  return string.find(gone.err, 'WRONGTYPE', 1, true) and {} or gone
end
-- If the clock has stepped back, announcements may lie in the future: set them to now.
for _, worker in ipairs(redis.call('ZRANGEBYSCORE', workers, string.format('(%.17g', now), '+inf')) do
  redis.call('ZADD', workers, now, worker)
end
return redis.call('ZRANGE', workers, 0, -1)
