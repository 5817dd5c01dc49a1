-- Puts an entry back. Args: batch id, index, milliseconds until it may be taken again, 1 if the try counts else 0.
local id, index = arg(1), arg(2)
redis.call("ZADD", FEED, "XX", NOW + tonumber(arg(3)), id .. ":" .. index)
if arg(4) == "0" and redis.call("EXISTS", BATCH .. id) == 1 then
  redis.call("HINCRBY", BATCH .. id, "tries:" .. index, -1)
end
return 1
