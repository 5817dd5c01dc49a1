-- Takes entries of batches for a while: whoever takes one settles it in that time, or it is given out again.
-- Args: limit, lease in milliseconds. Gives {batch id, index, times taken, tenant, entry} of each.
local taken = {}
for _, member in ipairs(redis.call("ZRANGEBYSCORE", FEED, "-inf", NOW + 1, "LIMIT", 0, arg(1))) do
  local id, index = string.match(member, "^(.*):(%d+)$")
  local entry = redis.call("HGET", BATCH .. id .. ":entries", index)
  local tenant = redis.call("HGET", BATCH .. id, "tenant")
  if entry and tenant then
    redis.call("ZADD", FEED, NOW + tonumber(arg(2)), member)
    local tries = redis.call("HINCRBY", BATCH .. id, "tries:" .. index, 1)
    taken[#taken + 1] = { id, index, tries, tenant, entry }
  else
    redis.call("ZREM", FEED, member) -- the batch is past its time
  end
end
return taken
