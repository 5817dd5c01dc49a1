-- Looks whether a job would be accepted now. Args: bound, memory share. Gives {"ok"|"full"|"memory", queued count}.
local queued = redis.call("ZCARD", QUEUED.interactive) + redis.call("ZCARD", QUEUED.batch)
if queued >= tonumber(arg(1)) then
  return { "full", queued }
end
if is_memory_short(tonumber(arg(2))) then
  return { "memory", queued }
end
return { "ok", queued }
