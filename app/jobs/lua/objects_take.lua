-- Gives photos that are to be deleted from the object store, for a while: they come again unless taken out of OBJECTS.
-- Args: limit, lease in milliseconds.
redis.call("PERSIST", OBJECTS) -- works at the memory limit too; see the prelude
local taken = {}
for _, member in ipairs(redis.call("ZRANGEBYSCORE", OBJECTS, "-inf", NOW, "LIMIT", 0, arg(1))) do
  local kind, id, fence = string.match(member, "^(%a+):(%x+):?(%d*)$")
  local v = kind and redis.call("HMGET", JOB .. id, "state", "attempt") or {}
  local is_needed
  if kind == "result" then
    -- An attempt that runs may commit at any moment; every other one will be refused.
    is_needed = v[1] == "running" and tonumber(v[2]) == tonumber(fence)
  else
    is_needed = v[1] == "queued" or v[1] == "running"
  end
  redis.call("ZADD", OBJECTS, "XX", NOW + tonumber(arg(2)), member)
  if not is_needed then
    taken[#taken + 1] = member
  end
end
return taken
