-- Announce a worker. It works in a full Redis too, in which workers go on.
-- KEYS: the worker's announcement, the list of workers.
-- ARGV: time, worker, seconds until the announcement expires, whether the worker is busy, fields and values in turn.
local announcement, workers = unpack(KEYS)
redis.call('ZREM', workers, ARGV[2]) -- first: a full Redis lets a script go on that made room
redis.call('ZADD', workers, ARGV[1], ARGV[2])
redis.call('HSET', announcement, 'seen', ARGV[1], unpack(ARGV, 5))
if ARGV[4] == '1' then redis.call('HSET', announcement, 'busy', ARGV[1]) end
redis.call('EXPIRE', announcement, ARGV[3])
