-- Find the pieces that need attention, remove what is no piece of this job, and mend times that lie too far ahead.
-- ARGV: time, job, how many waiting pieces may have lost their message, seconds until those are overdue again, seconds
-- of a lease, seconds to keep a finished job.
-- Returns the claimed pieces whose lease has expired, as many overdue waiting pieces as may have lost their message, and
-- the members that were removed.

-- Whether a member is a pending piece of a batch on record. Where the record does not tell, it is.
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
-- After the clock has stepped back, a time may lie further ahead than any that is set now.
local function clamp(set, latest)
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', set, string.format('(%.17g', latest), '+inf')) do
    redis.call('ZADD', set, latest, member)
  end
end
clamp(claimed, now + ARGV[5])
clamp(waiting, now + ARGV[4])
local lapsed = only_sound(claimed, redis.call('ZRANGEBYSCORE', claimed, '-inf', now))
local lost = only_sound(waiting, redis.call('ZRANGEBYSCORE', waiting, '-inf', now, 'LIMIT', 0, ARGV[3]))
for _, piece in ipairs(lost) do redis.call('ZADD', waiting, now + ARGV[4], piece) end
finish_if_done(ARGV[6])
return {lapsed, lost, removed}
