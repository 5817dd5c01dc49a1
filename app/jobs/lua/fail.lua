-- Ends an attempt with an error. Args: id, fence, entry, owner, code, detail, retryable (0 or 1). Gives 1, or 0 when
-- stale.
if is_settled(arg(1), arg(2), "failed") or is_settled(arg(1), arg(2), "queued") then
  return 1
end
local job = load_held(arg(1), arg(2), arg(3), arg(4))
if not job then
  return 0
end
local code, detail = arg(5), arg(6)
if arg(7) == "0" then
  drop_entry(job.priority, job.entry)
  fail_job(job, code, detail)
elseif job.deliveries >= MAX_DELIVERIES then
  drop_entry(job.priority, job.entry)
  bury(job, code, detail)
else
  redis.call("PERSIST", JOB .. job.id) -- works at the memory limit too; see the prelude
  redis.call("HSET", JOB .. job.id, "error_code", code, "error_detail", detail)
  requeue(job, job.deliveries)
end
return 1
