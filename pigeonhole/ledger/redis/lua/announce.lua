-- Announce a worker. This also works while Redis is full, since workers continue then.
-- KEYS: the worker's announcement, the list of workers.
-- ARGV: time, worker, seconds until the announcement expires, whether the worker is busy, fields and values in turn.
local announcement, workers = unpack(KEYS)
-- First, because a full Redis allows writes to a script that has freed memory.
local left = redis.pcall('ZREM', workers, ARGV[2])
if type(left) == 'table' and string.find(left.err, 'WRONGTYPE', 1, true) then redis.call('DEL', workers) end
redis.call('ZADD', workers, ARGV[1], ARGV[2])
redis.call('HSET', announcement, 'seen', ARGV[1], unpack(ARGV, 5))
local busy = tonumber(redis.call('HGET', announcement, 'busy'))
-- Also if the clock has stepped back: a time in the future would hide an idle worker.
if ARGV[4] == '1' or not (busy and busy <= tonumber(ARGV[1])) then
  redis.call('HSET', announcement, 'busy', ARGV[1])
end
redis.call('EXPIRE', announcement, ARGV[3])
