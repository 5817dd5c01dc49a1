-- Put after the prelude in scripts that accept something under an Idempotency-Key.
-- A key is a hash with the fingerprint of its request and, once that is accepted, the id of what it became; before, the
-- token of the request that is being accepted. It goes by itself: soon if it was never settled, else after its time.

-- Gives what stands in the way of a request, and the id for "repeated"; nil when nothing does.
local function key_obstacle(key, fingerprint, token)
  local v = redis.call("HMGET", KEY .. key, "fingerprint", "id", "token")
  if not v[1] then
    return nil
  end
  if v[1] ~= fingerprint then
    return "reused"
  end
  if v[2] then
    return "repeated", v[2]
  end
  return v[3] ~= token and "accepting" or nil
end

local function settle_key(key, fingerprint, id, ttl_ms)
  redis.call("UNLINK", KEY .. key)
  redis.call("HSET", KEY .. key, "fingerprint", fingerprint, "id", id)
  redis.call("PEXPIRE", KEY .. key, ttl_ms)
end
