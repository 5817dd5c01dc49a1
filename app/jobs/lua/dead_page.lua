-- Lists dead jobs, newest first. Args: entry to go on below, or "" to begin with the newest; most jobs.
-- Gives of each {entry, its flat fields, flat record (empty when that is gone), whether it can be retried (0 or 1)}.
local found = {}
local upper = arg(1) == "" and "+" or "(" .. arg(1)
for _, row in ipairs(redis.call("XREVRANGE", DEAD, upper, "-", "COUNT", arg(2))) do
  local job = load_job(row[2][2])
  local is_dead = job and job.dead == row[1] -- else of an earlier life, or of an earlier release
  local is_retryable = is_dead and job.dead_until_ms > NOW and is_kept(IMAGE .. job.id, "image:" .. job.id)
  found[#found + 1] = {
    row[1], row[2], job and redis.call("HGETALL", JOB .. job.id) or {}, is_retryable and 1 or 0,
  }
end
return found
