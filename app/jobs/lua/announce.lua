-- Records a sign of life of a worker, and clears away what others left that give none any more.
-- Args: worker, ready (0 or 1), model, ttl_ms, all models comma-separated, idle time of consumers in milliseconds.
local LOOK_EVERY_MS = 60000
local idle_ms = tonumber(arg(6))
redis.call("PERSIST", WORKERS) -- works at the memory limit too; see the prelude
redis.call(
  "HSET", WORKERS, arg(1),
  cjson.encode({
    ready = arg(2) == "1", model = arg(3), models = arg(5), seen_ms = NOW, until_ms = NOW + tonumber(arg(4)),
  })
)
local silent, is_any_silent = {}, false
local rows = redis.call("HGETALL", WORKERS)
for i = 1, #rows, 2 do
  if cjson.decode(rows[i + 1]).until_ms < NOW then
    silent[rows[i]], is_any_silent = true, true
  end
end
-- A consumer stays in its group for ever, that of a killed worker too. Deleting it discards its pending rows, so it goes
-- when it has none: its jobs were taken over, or it had no job. Should its worker live, the next claim makes it again.
-- Those that never announced themselves are looked for now and then.
if redis.call("SET", WORKERS .. ":looked", NOW, "NX", "PX", LOOK_EVERY_MS) or is_any_silent then
  local holding = {}
  for _, stream in pairs(STREAM) do
    local consumers = redis.pcall("XINFO", "CONSUMERS", stream, GROUP)
    for _, row in ipairs(consumers.err and {} or consumers) do
      local consumer = {}
      for i = 1, #row, 2 do
        consumer[row[i]] = row[i + 1]
      end
      if consumer.pending > 0 then
        holding[consumer.name] = true
      elseif silent[consumer.name] or consumer.idle > idle_ms then
        redis.call("XGROUP", "DELCONSUMER", stream, GROUP, consumer.name)
      end
    end
  end
  for name in pairs(silent) do
    if not holding[name] then
      redis.call("HDEL", WORKERS, name)
    end
  end
end
unlist_deleted(1000)
return 1
