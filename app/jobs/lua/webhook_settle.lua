-- Records how a try ended. Args: id, number of the try, "delivered", "failed", "disabled", "retry" or "release",
-- milliseconds until the next try, milliseconds for which the endpoint is left alone, the try as JSON.
-- Gives 0 when stale: another sender has taken it since.
local id, try, outcome, delay_ms, pause_ms = arg(1), arg(2), arg(3), tonumber(arg(4)), tonumber(arg(5))
local key = DELIVERY .. id
local v = redis.call("HMGET", key, "tries", "open", "endpoint", "batch", "url")
if v[1] ~= try or not v[2] then
  return 0
end
local member = v[3] .. ":" .. id
redis.call("HDEL", key, "open") -- first: works at the memory limit too, see the prelude
redis.call("HSET", key, "try:" .. try, arg(6))
if outcome == "retry" or outcome == "release" then
  if outcome == "retry" then
    redis.call("HINCRBY", key, "failures", 1)
  end
  redis.call("HSET", key, "next_ms", NOW + delay_ms)
  redis.call("ZADD", OUTBOX, NOW + delay_ms, member)
else
  redis.call("ZREM", OUTBOX, member)
  redis.call("HSET", key, "state", outcome)
  redis.call("HDEL", key, "about", "next_ms")
  keep_settled(id)
end
if outcome == "disabled" and v[4] ~= "" and redis.call("EXISTS", BATCH .. v[4]) == 1 then
  redis.call("HSET", BATCH .. v[4], "off:" .. redis.sha1hex(v[5]), NOW)
end
if outcome == "delivered" then
  redis.call("UNLINK", ENDPOINT .. v[3])
elseif pause_ms > 0 then
  redis.call("SET", ENDPOINT .. v[3], NOW + pause_ms, "PX", pause_ms)
end
return 1
