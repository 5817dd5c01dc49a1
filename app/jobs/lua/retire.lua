-- Forgets a worker and hands back, uncounted, whatever is still pending for it. Args: worker. Gives how many.
local worker, returned = arg(1), 0
redis.call("HDEL", WORKERS, worker) -- first, because it works at the memory limit too; see the prelude
for priority, stream in pairs(STREAM) do
  for _, row in ipairs(redis.call("XPENDING", stream, GROUP, "-", "+", 10000, worker)) do
    local found = redis.call("XRANGE", stream, row[1], row[1])
    local job = found[1] and load_job(found[1][2][2])
    if job and job.state == "running" and job.entry == row[1] then
      requeue(job, job.deliveries - 1)
      returned = returned + 1
    else
      drop_entry(priority, row[1])
    end
  end
  redis.call("XGROUP", "DELCONSUMER", stream, GROUP, worker)
end
return returned
