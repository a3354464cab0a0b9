-- Store the answers to a pending piece, and remove the piece.
-- ARGV: time, job, piece, answers, images, errors, reviews, seconds until the keys of a finished job expire.
-- Returns 1 if the answers count; 0 if the piece is not pending and nothing has changed.
if not pending(ARGV[3]) then return 0 end
redis.call('HSET', rows, row_of(ARGV[3]), ARGV[4]) -- first: a full Redis refuses it, and nothing has changed
redis.call('ZREM', waiting, ARGV[3])
redis.call('ZREM', claimed, ARGV[3])
redis.call('HINCRBY', job, 'done', ARGV[5])
redis.call('HINCRBY', job, 'errors', ARGV[6])
redis.call('HINCRBY', job, 'reviews', ARGV[7])
redis.call('HSET', job, 'progressed', now)
-- A job that advances without a promoted piece is not starving any more.
local promoted = redis.call('HGET', job, 'promoted')
if promoted and promoted ~= '' and promoted ~= ARGV[3] then redis.call('HSET', job, 'promoted', '') end
finish_if_done(ARGV[8])
return 1
