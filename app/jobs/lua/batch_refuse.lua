-- Ends an entry that never becomes a job. Args: batch id, index, error. Gives 0 when it was settled before.
local id, index = arg(1), arg(2)
redis.call("ZREM", FEED, id .. ":" .. index)
if redis.call("HDEL", BATCH .. id .. ":entries", index) == 0 then
  return 0
end
redis.call("HSET", BATCH .. id, "error:" .. index, arg(3))
return 1
