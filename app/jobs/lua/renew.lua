-- Prolongs a lease. Args: id, fence, entry, owner, priority, worker. Gives {owned, cancel requested, watched} as 0 or 1.
local entry, stream, worker = arg(3), STREAM[arg(5)], arg(6)
local job = load_held(arg(1), arg(2), entry, arg(4))
if not job then
  return { 0, 0, 0 }
end
local pending = redis.pcall("XPENDING", stream, GROUP, entry, entry, 1)
if pending.err then
  return renewal(job) -- the group was deleted: the next claim makes it anew, and there is no lease until then
end
if pending[1] and pending[1][2] ~= worker then
  return { 0, 0, 0 }
end
-- JUSTID: no further delivery is counted. FORCE: restores a pending row that was removed by hand.
redis.call("XCLAIM", stream, GROUP, worker, 0, entry, "FORCE", "JUSTID")
return renewal(job)
