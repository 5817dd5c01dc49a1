-- Holds an Idempotency-Key for a request while it is being accepted. Args: key, fingerprint, token, milliseconds.
-- Gives {"ok"|"reused"|"accepting"|"repeated", id}.
local obstacle, id = key_obstacle(arg(1), arg(2), arg(3))
if obstacle then
  return { obstacle, id or "" }
end
redis.call("HSET", KEY .. arg(1), "fingerprint", arg(2), "token", arg(3))
redis.call("PEXPIRE", KEY .. arg(1), arg(4))
return { "ok", "" }
