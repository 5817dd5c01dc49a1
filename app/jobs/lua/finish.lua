-- Commits the result of an attempt. Its bytes are already stored under its own name, or come along when Redis had no
-- room for them: they then take the place of the upload, and may pass the memory limit by the difference.
-- Args: id, fence, entry, media_type, caption or "", findings JSON, steps_total, model or "", bytes or "" (stored
-- already).
-- Gives 1 when committed, else 0.
if is_settled(arg(1), arg(2), "succeeded") then
  return 1
end
local job = load_held(arg(1), arg(2), arg(3))
if not job then
  return 0
end
local result = job.id .. ":" .. job.attempt
if arg(9) == "" and not is_kept(RESULT .. result, "result:" .. result) then
  return 0 -- deleted since it was stored: nobody could read it
end
drop_entry(job.priority, job.entry)
if job.cancel_requested then
  conclude(job, "canceled") -- who asked to cancel wants no result kept
  return 0
end
local key = JOB .. job.id
if arg(9) ~= "" then
  redis.call("UNLINK", IMAGE .. job.id, MASK .. job.id)
  redis.call("SET", RESULT .. result, arg(9), "PX", RESULT_MS)
end
redis.call("HDEL", key, "error_code", "error_detail") -- of an earlier attempt
local fields = { "result_media_type", arg(4), "findings", arg(6), "steps_total", arg(7), "step", arg(7) }
if arg(5) ~= "" then
  fields[#fields + 1] = "caption"
  fields[#fields + 1] = arg(5)
end
if arg(8) ~= "" then
  fields[#fields + 1] = "model"
  fields[#fields + 1] = arg(8)
end
conclude(job, "succeeded", fields)
return 1
