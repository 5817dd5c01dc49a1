-- Deletes all that Redis has of a job: record, events, photos, webhooks and its place in the listing. One that has not
-- ended is canceled first, in the same step: whoever waits for it wakes, and its worker finds that it no longer has it.
-- Args: id. Gives 0 without such a job. What is in an object store may be deleted from now on.
local job = load_job(arg(1))
if not job then
  return 0
end
if job.state == "queued" or job.state == "running" then
  if job.state == "running" then
    drop_entry(job.priority, job.entry) -- that of a queued one stays until a claim meets it; see `cancel`
  end
  job.webhook = "" -- whoever deletes a job knows, and a webhook would tell of what is deleted
  conclude(job, "canceled")
  job.state = "canceled"
end
if job.dead then
  unbury(job)
end
redis.call("UNLINK", JOB .. job.id, EVENTS .. job.id, LISTEN .. job.id, IMAGE .. job.id, MASK .. job.id)
for attempt = 1, job.attempt do
  redis.call("UNLINK", RESULT .. job.id .. ":" .. attempt)
  redis.call("ZADD", OBJECTS, "XX", NOW, "result:" .. job.id .. ":" .. attempt)
end
redis.call("ZADD", OBJECTS, "XX", NOW, "image:" .. job.id, NOW, "mask:" .. job.id)
for _, message in ipairs(redis.call("LRANGE", DELIVERIES .. job.id, 0, -1)) do
  local endpoint = redis.call("HGET", DELIVERY .. message, "endpoint")
  if endpoint then
    redis.call("ZREM", OUTBOX, endpoint .. ":" .. message)
  end
  redis.call("UNLINK", DELIVERY .. message)
end
redis.call("UNLINK", DELIVERIES .. job.id)
local member = listed_as(job.created_ms, job.id)
redis.call("ZREM", LISTED .. job.tenant .. ":" .. job.state, member)
redis.call("ZREM", UNLIST, job.state .. ":" .. member .. ":" .. job.tenant)
return 1
