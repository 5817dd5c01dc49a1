-- Ends an entry that never becomes a job. Args: batch id, index, error, webhook or "", its events. Gives 0 when it was
-- settled before.
local id, index = arg(1), arg(2)
unfeed(id, index)
local entry = redis.call("HGET", BATCH .. id .. ":entries", index)
if redis.call("HDEL", BATCH .. id .. ":entries", index) == 0 then
  return 0
end
redis.call("HSET", BATCH .. id, "error:" .. index, arg(3))
local about = { "batch", id, "index", index, "entry", entry, "error", arg(3) }
local tenant = redis.call("HGET", BATCH .. id, "tenant") or "default"
tell("entry.refused", id .. ":" .. index, id, tenant, arg(4), arg(5), about)
return 1
