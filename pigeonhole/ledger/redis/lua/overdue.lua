-- Find the pieces that need attention. Also remove invalid members, correct times that lie in the future, and cancel an
-- open job without a submitter.
-- ARGV: time, job, number of waiting pieces that may have lost their message, seconds until these are overdue again,
-- seconds of a lease, seconds until the keys of a job that is over expire, seconds without progress after which a job
-- starves, 1 if the last sweep was just now.
-- Returns the claimed pieces whose lease has expired; the overdue waiting pieces to publish again; the removed members;
-- the piece to publish ahead of all others, or nothing; 1 if the job was cancelled.
local most, publish, lease, ttl, starving, steady = unpack(ARGV, 3)
publish, ttl = tonumber(publish), tonumber(ttl)
-- Whether a member is a pending piece of a batch on record. Without a recorded digest, it counts as one.
local function sound(member)
  local number, digest, part = string.match(member, '^(%d+)%-(%x+)(.*)$')
  if not number or redis.call('HEXISTS', rows, number .. part) == 1 then return false end
  local recorded = redis.call('HGET', digests, number)
  if not recorded then return redis.call('HEXISTS', refs, number) == 1 end
  local split = redis.call('HGET', parts, number) or number
  return recorded == digest and string.find(',' .. split .. ',', ',' .. number .. part .. ',', 1, true) ~= nil
end
local removed = {}
local function only_sound(set, members)
  local kept = {}
  for _, member in ipairs(members) do
    if sound(member) then
      kept[#kept + 1] = member
    else
      redis.call('ZREM', set, member)
      removed[#removed + 1] = member
    end
  end
  return kept
end
-- If the clock has stepped back, a time may lie further in the future than any that is set now.
local function clamp(set, latest)
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', set, string.format('(%.17g', latest), '+inf')) do
    redis.call('ZADD', set, latest, member)
  end
end
-- A time in the job's record; now, if it is missing, invalid or in the future.
local function past(field)
  local time = tonumber(redis.call('HGET', job, field))
  if time and time <= now then return time end
  redis.call('HSET', job, field, now)
  return now
end
-- The piece to publish ahead of all others, if the job is starving.
local function promote()
  if redis.call('ZCARD', claimed) > 0 or redis.call('ZCARD', waiting) == 0 then return false end
  local progressed, last = past('progressed'), redis.call('HGET', job, 'promoted') or ''
  if last == '' and now - progressed < tonumber(starving) then return false end
  if redis.call('ZSCORE', waiting, last) then
    -- Its message is probably still queued. Each pause is twice the last, so that messages do not pile up.
    local promoted = past('promoted_at')
    if now - promoted < math.min(math.max(publish, promoted - progressed), 3600) then return false end
  end
  local oldest = redis.call('ZRANGE', waiting, 0, 0)[1]
  redis.call('ZADD', waiting, now + publish, oldest)
  redis.call('HSET', job, 'promoted', oldest, 'promoted_at', now)
  return oldest
end
local function abandoned()
  if redis.call('HGET', job, 'state') ~= 'open' or now - past('submitting') < ttl then return false end
  if steady == '1' then return true end
  redis.call('HSET', job, 'submitting', now - ttl + 60) -- the clock may have stepped forward: wait for a heartbeat
  return false
end

if abandoned() then
  cancel_job(ttl)
  return {{}, {}, {}, false, 1}
end
clamp(claimed, now + lease)
clamp(waiting, now + publish)
local lapsed = only_sound(claimed, redis.call('ZRANGEBYSCORE', claimed, '-inf', now))
local lost = only_sound(waiting, redis.call('ZRANGEBYSCORE', waiting, '-inf', now, 'LIMIT', 0, most))
for _, piece in ipairs(lost) do redis.call('ZADD', waiting, now + publish, piece) end
finish_if_done(ttl)
return {lapsed, lost, removed, #lapsed + #lost == 0 and promote(), 0}
