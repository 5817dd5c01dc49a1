-- Records a sign of life of a worker and forgets those long silent.
-- Args: worker, ready (0 or 1), model, ttl_ms, all models comma-separated.
redis.call("PERSIST", WORKERS) -- works at the memory limit too; see the prelude
redis.call(
  "HSET", WORKERS, arg(1),
  cjson.encode({
    ready = arg(2) == "1", model = arg(3), models = arg(5), seen_ms = NOW, until_ms = NOW + tonumber(arg(4)),
  })
)
local rows = redis.call("HGETALL", WORKERS)
for i = 1, #rows, 2 do
  local name = rows[i]
  if cjson.decode(rows[i + 1]).until_ms < NOW then
    redis.call("HDEL", WORKERS, name)
    for _, stream in pairs(STREAM) do
      -- Deleting a consumer discards its pending rows, so one that still has jobs stays until they are reclaimed.
      local pending = redis.pcall("XPENDING", stream, GROUP, "-", "+", 1, name)
      if not pending.err and #pending == 0 then
        redis.call("XGROUP", "DELCONSUMER", stream, GROUP, name)
      end
    end
  end
end
unlist_deleted(1000)
return 1
