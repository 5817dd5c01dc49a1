-- Commits the result of an attempt. Its bytes are already stored under its own name, or come along when Redis had no
-- room for them: they then take the place of the upload, and may pass the memory limit by the difference.
-- Args: id, fence, entry, owner, media_type, caption or "", findings JSON, steps_total, model or "", bytes or "" (stored
-- already).
-- Gives 1 when committed, else 0.
local id, fence = arg(1), arg(2)

-- Says no, and deletes what was stored for this commit. Not where somebody may still come to commit under that name: a
-- Redis that comes back without its last writes gives the same fence out once more. Its time limit is enough then.
local function refuse()
  local job = load_job(id)
  if not job or job.attempt > tonumber(fence) or (job.attempt == tonumber(fence) and job.state ~= "running") then
    redis.call("UNLINK", RESULT .. id .. ":" .. fence)
  end
  return 0
end

if is_settled(id, fence, "succeeded") then
  keep_result(id, fence, redis.call("HGET", JOB .. id, "expires_ms")) -- it was stored once more, for longer
  return 1
end
local job = load_held(id, fence, arg(3), arg(4))
if not job then
  return refuse()
end
local result = id .. ":" .. fence
if arg(10) == "" and not is_kept(RESULT .. result, "result:" .. result) then
  return 0 -- deleted since it was stored: nobody could read it
end
drop_entry(job.priority, job.entry)
if job.cancel_requested then
  conclude(job, "canceled") -- who asked to cancel wants no result kept
  return refuse()
end
local key = JOB .. job.id
if arg(10) ~= "" then
  redis.call("UNLINK", IMAGE .. job.id, MASK .. job.id)
  redis.call("SET", RESULT .. result, arg(10), "PX", RESULT_MS)
end
redis.call("HDEL", key, "error_code", "error_detail") -- of an earlier attempt
local fields = { "result_media_type", arg(5), "findings", arg(7), "steps_total", arg(8), "step", arg(8) }
if arg(6) ~= "" then
  fields[#fields + 1] = "caption"
  fields[#fields + 1] = arg(6)
end
if arg(9) ~= "" then
  fields[#fields + 1] = "model"
  fields[#fields + 1] = arg(9)
end
conclude(job, "succeeded", fields)
return 1
