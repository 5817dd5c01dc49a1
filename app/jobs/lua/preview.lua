-- Adds a preview to the events of a job and takes the one before away. Args: id, fence, entry, owner, step, steps_total,
-- width, height, media type, bytes. Gives {owned, cancel requested, watched} as 0 or 1; without effect when stale or
-- when nobody listens any more.
local job = load_held(arg(1), arg(2), arg(3), arg(4))
if not job then
  return { 0, 0, 0 }
end
if is_watched(job.id) then
  local data = {
    step = tonumber(arg(5)), steps_total = tonumber(arg(6)), width = tonumber(arg(7)), height = tonumber(arg(8)),
    media_type = arg(9), attempt = job.attempt,
  }
  -- First of all the write that needs memory: at the memory limit it is refused, and then nothing has changed.
  local event = emit(job.id, "preview", data, arg(10))
  drop_preview(job.id)
  redis.call("HSET", JOB .. job.id, "preview", event)
end
return renewal(job)
