-- Ends a running job as canceled. Args: id, fence, entry, owner. Gives 1, or 0 when stale.
if is_settled(arg(1), arg(2), "canceled") then
  return 1
end
local job = load_held(arg(1), arg(2), arg(3), arg(4))
if not job then
  return 0
end
drop_entry(job.priority, job.entry)
conclude(job, "canceled")
return 1
