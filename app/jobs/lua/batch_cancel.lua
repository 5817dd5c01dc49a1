-- Ends all entries that are no jobs yet. Args: batch id. Gives their indexes, or nil without such a batch.
local id = arg(1)
if redis.call("EXISTS", BATCH .. id) == 0 then
  return false
end
local left = redis.call("HKEYS", BATCH .. id .. ":entries")
redis.call("UNLINK", BATCH .. id .. ":entries") -- first: works at the memory limit too, see the prelude
for _, index in ipairs(left) do
  unfeed(id, index)
end
redis.call("HSET", BATCH .. id, "cancel_requested", 1)
return left
