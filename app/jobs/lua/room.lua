-- Looks whether a job would be accepted now. Args: bound, memory share, id, whether its photo is stored already (0 or 1).
-- Gives {"ok"|"known"|"full"|"memory", queued count}.
local queued = redis.call("ZCARD", QUEUED.interactive) + redis.call("ZCARD", QUEUED.batch)
if redis.call("EXISTS", JOB .. arg(3)) == 1 then
  return { "known", queued }
end
if queued >= tonumber(arg(1)) then
  return { "full", queued }
end
if arg(4) == "0" and is_memory_short(tonumber(arg(2))) then
  return { "memory", queued }
end
return { "ok", queued }
