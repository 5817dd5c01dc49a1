-- Cancels a queued job at once and asks the worker of a running one to stop. Args: id. Gives 0 without such a job.
-- The stream entry of a queued job stays until a claim meets it: deleting it undelivered breaks the group's lag.
local job = load_job(arg(1))
if not job then
  return 0
end
if job.state == "queued" then
  conclude(job, "canceled", { "cancel_requested", 1 })
elseif job.state == "running" and not job.cancel_requested then
  redis.call("PERSIST", JOB .. job.id) -- works at the memory limit too; see the prelude
  redis.call("HSET", JOB .. job.id, "cancel_requested", 1)
  emit(job.id, "state", { state = "running", attempt = job.attempt, cancel_requested = true })
end
return 1
