-- The beginning of every script on one job.
-- KEYS: the job's keys, in the order of `store.PARTS`, then the lists. ARGV[1]: the time in seconds; empty: the
-- server's clock, so that clocks of machines may differ. ARGV[2]: the job's id.
-- The name of a piece is `NUMBER-DIGEST` or `NUMBER-DIGEST:START:STOP`, with the digest of the references on record.
local job, refs, waiting, claimed, rows, parts, digests, active, jobs = unpack(KEYS)
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) + tonumber(time[2]) / 1000000
end
local function pending(piece)
  return redis.call('ZSCORE', waiting, piece) or redis.call('ZSCORE', claimed, piece)
end
local function number_of(piece)
  return string.match(piece, '^%d+')
end
-- The key of a piece's answers: its name without the digest.
local function row_of(piece)
  return number_of(piece) .. (string.match(piece, ':.*$') or '')
end
local function expire(ttl)
  for i = 1, 7 do redis.call('EXPIRE', KEYS[i], ttl) end
  redis.call('ZREM', active, ARGV[2])
end
local function cancel_job(ttl)
  redis.call('DEL', waiting, claimed) -- first: a full Redis refuses a script that begins with a write that needs memory
  redis.call('HSET', job, 'state', 'cancelled', 'finished', now)
  expire(ttl)
end
local function finish_if_done(ttl)
  if redis.call('HGET', job, 'state') == 'closed'
      and redis.call('ZCARD', waiting) + redis.call('ZCARD', claimed) == 0 then
    redis.call('HSET', job, 'state', 'finished', 'finished', now)
    expire(ttl)
  end
end
