-- Delete a job's keys and take it off the lists, in one step: should Redis forget a part of it, the job would be lost.
-- ARGV: time, job.
redis.call('DEL', unpack(KEYS, 1, 7))
for _, list in ipairs({active, jobs}) do
  redis.pcall('ZREM', list, ARGV[2]) -- a key of another type is for the sweep to remove
end
