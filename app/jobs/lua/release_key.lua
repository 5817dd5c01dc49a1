-- Gives up an Idempotency-Key whose request was not accepted. Args: key, token.
local v = redis.call("HMGET", KEY .. arg(1), "token", "id")
if v[1] == arg(2) and not v[2] then
  redis.call("UNLINK", KEY .. arg(1))
end
return 1
