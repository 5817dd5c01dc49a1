-- Records how far an attempt is. Args: id, fence, entry, step, steps_total, caption or "", findings JSON or "", model
-- or "".
-- Empty means unchanged. Gives {owned, cancel requested, watched} as 0 or 1.
local job = load_held(arg(1), arg(2), arg(3))
if not job then
  return { 0, 0, 0 }
end
local key = JOB .. job.id
redis.call("HSET", key, "step", arg(4), "steps_total", arg(5))
if arg(6) ~= "" then
  redis.call("HSET", key, "caption", arg(6))
end
if arg(7) ~= "" then
  redis.call("HSET", key, "findings", arg(7))
end
if arg(8) ~= "" then
  redis.call("HSET", key, "model", arg(8))
end
emit(job.id, "progress", { step = tonumber(arg(4)), steps_total = tonumber(arg(5)), attempt = job.attempt })
return renewal(job)
