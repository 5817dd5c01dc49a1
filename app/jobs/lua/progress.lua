-- Records how far an attempt is. Args: id, fence, entry, owner, step, steps_total, caption or "", findings JSON or "",
-- model or "".
-- Empty means unchanged. Gives {owned, cancel requested, watched} as 0 or 1.
local job = load_held(arg(1), arg(2), arg(3), arg(4))
if not job then
  return { 0, 0, 0 }
end
local key = JOB .. job.id
redis.call("HSET", key, "step", arg(5), "steps_total", arg(6))
if arg(7) ~= "" then
  redis.call("HSET", key, "caption", arg(7))
end
if arg(8) ~= "" then
  redis.call("HSET", key, "findings", arg(8))
end
if arg(9) ~= "" then
  redis.call("HSET", key, "model", arg(9))
end
emit(job.id, "progress", { step = tonumber(arg(5)), steps_total = tonumber(arg(6)), attempt = job.attempt })
return renewal(job)
