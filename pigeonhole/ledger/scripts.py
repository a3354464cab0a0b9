"""The ledger's steps that must happen whole or not at all, as Redis runs them.

Every script gets the keys of one job in this order, and the time (seconds; empty: the server's own clock, so
that machines need not agree) as its first argument.
"""

#: KEYS, by the order that `Ledger._keys` gives them in.
_PRELUDE = """
local job, refs, waiting, claimed, rows, parts, active = unpack(KEYS)
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) + tonumber(time[2]) / 1000000
end
local function owed(number)
  return redis.call('ZSCORE', waiting, number) or redis.call('ZSCORE', claimed, number)
end
local function expire(ttl)
  for i = 1, 6 do redis.call('EXPIRE', KEYS[i], ttl) end
  redis.call('ZREM', active, ARGV[2])
end
local function finish_if_done(ttl)
  if redis.call('HGET', job, 'state') == 'closed'
      and redis.call('ZCARD', waiting) + redis.call('ZCARD', claimed) == 0 then
    redis.call('HSET', job, 'state', 'finished', 'finished', now)
    expire(ttl)
  end
end
"""

#: now, job, number, references, images, seconds until it is overdue → the job's state, and 1 if the batch is new. One
#: that is on record already stays as it is, whatever state the job is in by now.
ADD = (
    _PRELUDE
    + """
local state = redis.call('HGET', job, 'state')
if redis.call('HEXISTS', refs, ARGV[3]) == 1 or state ~= 'open' then
  return {state, 0}
end
redis.call('HSET', refs, ARGV[3], ARGV[4])
redis.call('ZADD', waiting, now + ARGV[6], ARGV[3])
redis.call('HINCRBY', job, 'images', ARGV[5])
redis.call('HINCRBY', job, 'batches', 1)
return {state, 1}
"""
)

#: now, job, batches, seconds to keep a finished job → the state before, and how many batches are on record. Closes it
#: where these are all.
CLOSE = (
    _PRELUDE
    + """
local state = redis.call('HGET', job, 'state')
local batches = tonumber(redis.call('HGET', job, 'batches') or 0)
if state == 'open' and batches == tonumber(ARGV[3]) then
  redis.call('HSET', job, 'state', 'closed', 'closed', now)
  finish_if_done(ARGV[4])
end
return {state, batches}
"""
)

#: now, job, seconds to keep it → the state before. Strikes off what is owed.
CANCEL = (
    _PRELUDE
    + """
local state = redis.call('HGET', job, 'state')
if state == 'open' or state == 'closed' then
  redis.call('DEL', waiting, claimed) -- first: a full Redis refuses what begins with a write that needs room
  redis.call('HSET', job, 'state', 'cancelled', 'finished', now)
  expire(ARGV[3])
end
return state
"""
)

#: now, job, piece, seconds of the lease → the batch's references, or nothing where the piece is not owed. A claim keeps
#: nobody out: it tells the sweep that somebody is at it.
CLAIM = (
    _PRELUDE
    + """
if not owed(ARGV[3]) then return false end
redis.call('ZREM', waiting, ARGV[3])
redis.call('ZADD', claimed, now + ARGV[4], ARGV[3])
redis.call('HSETNX', job, 'started', now)
return redis.call('HGET', refs, string.match(ARGV[3], '^%d+'))
"""
)

#: now, job, seconds of the lease, pieces → how many of them somebody has claimed; only of these the lease is renewed.
RENEW = (
    _PRELUDE
    + """
local held = 0
for i = 4, #ARGV do
  if redis.call('ZREM', claimed, ARGV[i]) == 1 then -- first: a full Redis lets a script go on that made room
    redis.call('ZADD', claimed, now + ARGV[3], ARGV[i])
    held = held + 1
  end
end
return held
"""
)

#: now, job, piece, answers, images, errors, reviews, seconds to keep a finished job → 1 if they count.
COMMIT = (
    _PRELUDE
    + """
if not owed(ARGV[3]) then return 0 end
redis.call('HSET', rows, ARGV[3], ARGV[4]) -- first: a full Redis refuses it, and nothing has changed
redis.call('ZREM', waiting, ARGV[3])
redis.call('ZREM', claimed, ARGV[3])
redis.call('HINCRBY', job, 'done', ARGV[5])
redis.call('HINCRBY', job, 'errors', ARGV[6])
redis.call('HINCRBY', job, 'reviews', ARGV[7])
finish_if_done(ARGV[8])
return 1
"""
)

#: now, job, piece, seconds until it is overdue → 1 if somebody had it in hand; now it waits again.
RELEASE = (
    _PRELUDE
    + """
if redis.call('ZREM', claimed, ARGV[3]) == 0 then return 0 end
redis.call('ZADD', waiting, now + ARGV[4], ARGV[3])
return 1
"""
)

#: now, job, piece, seconds until they are overdue, parts that it is split into → for parts 0; for none, how often the
#: piece was lost by now, which waits again; nothing where nobody has the piece in hand.
DIED = (
    _PRELUDE
    + """
if redis.call('ZREM', claimed, ARGV[3]) == 0 then return false end
if #ARGV == 4 then
  redis.call('ZADD', waiting, now + ARGV[4], ARGV[3])
  return redis.call('HINCRBY', parts, 'deaths:' .. ARGV[3], 1)
end
for i = 5, #ARGV do redis.call('ZADD', waiting, now + ARGV[4], ARGV[i]) end
local number = string.match(ARGV[3], '^%d+')
local split = {}
for piece in string.gmatch(redis.call('HGET', parts, number) or ARGV[3], '[^,]+') do
  split[#split + 1] = piece == ARGV[3] and table.concat(ARGV, ',', 5) or piece
end
redis.call('HSET', parts, number, table.concat(split, ','))
return 0
"""
)

#: now, job, how many may be lost, seconds until they are overdue again → pieces whose lease has run out, and as many
#: of those that wait, and are overdue, as may be lost.
OVERDUE = (
    _PRELUDE
    + """
local lapsed = redis.call('ZRANGEBYSCORE', claimed, '-inf', now)
local lost = redis.call('ZRANGEBYSCORE', waiting, '-inf', now, 'LIMIT', 0, ARGV[3])
for _, piece in ipairs(lost) do redis.call('ZADD', waiting, now + ARGV[4], piece) end
return {lapsed, lost}
"""
)

#: KEYS: a worker's announcement, and the list of workers. Time, name, seconds until it is gone, whether it
#: is busy, fields and values in turn. It can be made in a full Redis too, in which workers go on.
ANNOUNCE = """
local announcement, workers = unpack(KEYS)
redis.call('ZREM', workers, ARGV[2]) -- first: a full Redis lets a script go on that made room
redis.call('ZADD', workers, ARGV[1], ARGV[2])
redis.call('HSET', announcement, 'seen', ARGV[1], unpack(ARGV, 5))
if ARGV[4] == '1' then redis.call('HSET', announcement, 'busy', ARGV[1]) end
redis.call('EXPIRE', announcement, ARGV[3])
"""
