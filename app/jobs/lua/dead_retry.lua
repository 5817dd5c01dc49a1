-- Begins a new life of a dead job: back into the queue with all its deliveries, and with events of its own. The attempt
-- goes on rising, so that nobody from its earlier life can commit anything. Args: id, bound.
-- Gives {"ok"|"unknown"|"alive"|"lost"|"full", queued count}.
local queued = redis.call("ZCARD", QUEUED.interactive) + redis.call("ZCARD", QUEUED.batch)
local job = load_job(arg(1))
if not job then
  return { "unknown", queued }
end
if not job.dead then
  return { "alive", queued }
end
if job.dead_until_ms <= NOW or not is_kept(IMAGE .. job.id, "image:" .. job.id) then
  return { "lost", queued }
end
if queued >= tonumber(arg(2)) then
  return { "full", queued }
end
local key = JOB .. job.id
keep_upload(job.id)
unbury(job)
redis.call("PERSIST", key)
redis.call("PERSIST", EVENTS .. job.id)
redis.call("XTRIM", EVENTS .. job.id, "MAXLEN", 0) -- the stream stays, so ids go on rising for those who knew the last
redis.call("ZREM", UNLIST, "failed:" .. listed_as(job.created_ms, job.id) .. ":" .. job.tenant)
redis.call("HDEL", key, "started_ms", "finished_ms", "steps_total", "error_code", "error_detail")
redis.call("HINCRBY", key, "retries", 1)
redis.call("HSET", key, "accepted_ms", NOW) -- time limits of the caller begin anew
enqueue(job, 0)
return { "ok", queued + 1 }
