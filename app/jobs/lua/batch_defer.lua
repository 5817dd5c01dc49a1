-- Puts an entry back, or renews its lease. Args: batch id, index, milliseconds until it may be taken again, 1 if the try
-- counts else 0.
local id, index = arg(1), arg(2)
redis.call("PERSIST", STORED) -- works at the memory limit too; see the prelude
for _, feed in ipairs({ FEED, STORED }) do
  redis.call("ZADD", feed, "XX", NOW + tonumber(arg(3)), id .. ":" .. index)
end
if arg(4) == "0" and redis.call("EXISTS", BATCH .. id) == 1 then
  redis.call("HINCRBY", BATCH .. id, "tries:" .. index, -1)
end
return 1
