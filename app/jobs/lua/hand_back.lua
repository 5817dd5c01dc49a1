-- Gives a running job to whoever asks next. Args: id, fence, entry, owner. Gives 1, or 0 when stale.
if is_settled(arg(1), arg(2), "queued") then
  return 1
end
local job = load_held(arg(1), arg(2), arg(3), arg(4))
if not job then
  return 0
end
requeue(job, job.deliveries - 1)
return 1
