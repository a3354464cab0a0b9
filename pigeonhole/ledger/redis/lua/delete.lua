-- Delete a job's keys and its entries in the lists, in one step, so that Redis can't lose one half of the deletion.
-- ARGV: time, job.
redis.call('DEL', unpack(KEYS, 1, 7))
for _, list in ipairs({active, jobs}) do
  redis.pcall('ZREM', list, ARGV[2]) -- the sweep removes a key of another type
end
