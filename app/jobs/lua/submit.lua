-- Accepts a job: bound, record, stream entry and event at once.
-- Args: id, priority, created_ms, bound, memory share, then Idempotency-Key (empty for none), fingerprint, token and time
-- to keep it, then batch (empty for none) and index of its entry, whether the batch stored the photo (0 or 1), then the
-- fields of the record.
-- Gives {"ok"|"known"|"full"|"memory"|"reused"|"accepting"|"repeated"|"gone"|"lost", queued count, id of the first job of
-- that key}; "gone" means that the entry of the batch was canceled or settled otherwise, "lost" that the photo is not
-- there (any more).
local id, priority, created_ms, bound, share = arg(1), arg(2), arg(3), tonumber(arg(4)), tonumber(arg(5))
local queued = redis.call("ZCARD", QUEUED.interactive) + redis.call("ZCARD", QUEUED.batch)

-- A caller that lost the answer may send the same job again, with its photo, which then has a time limit again or
-- belongs to a job that has ended.
local state = redis.call("HGET", JOB .. id, "state")
if state == "queued" or state == "running" then
  keep_upload(id)
  return { "known", queued }
elseif state then
  local dead_until_ms = tonumber(redis.call("HGET", JOB .. id, "dead_until_ms") or "0")
  if dead_until_ms > NOW then
    keep_upload_until(id, dead_until_ms)
  else
    drop_upload(id)
  end
  return { "known", queued }
end
local key, fingerprint, token, key_ms = arg(6), arg(7), arg(8), arg(9)
if key ~= "" then
  local obstacle, first = key_obstacle(key, fingerprint, token)
  if obstacle then
    return { obstacle, queued, first or "" }
  end
end
local batch, index = arg(10), arg(11)
if batch ~= "" and redis.call("HEXISTS", BATCH .. batch .. ":entries", index) == 0 then
  return { "gone", queued }
end
if not is_kept(IMAGE .. id, "image:" .. id) then
  return { "lost", queued }
end
if queued >= bound then
  return { "full", queued }
end
-- A photo that is stored takes no more memory, and refusing it would keep that memory taken.
if arg(12) == "0" and is_memory_short(share) then
  return { "memory", queued }
end

local fields = {}
for i = HEAD + 13, #ARGV do
  fields[#fields + 1] = ARGV[i]
end
-- From here the upload lives exactly as long as the job needs it: its time limit was for uploads that never got here.
keep_upload(id)
-- A Redis that came back empty has no groups, and where no worker is left to make them, an autoscaler needs them to start
-- one. Of what it had, streams without their groups are left by nobody.
for _, stream in pairs(STREAM) do
  if redis.call("EXISTS", stream) == 0 then
    redis.call("XGROUP", "CREATE", stream, GROUP, "0", "MKSTREAM")
  end
end
local entry = redis.call("XADD", STREAM[priority], "*", "job", id)
-- By this clock, which claims read too: created_ms is by the clock of the API's machine.
redis.call("HSET", JOB .. id, "entry", entry, "deliveries", 0, "accepted_ms", NOW, unpack(fields))
redis.call("ZADD", QUEUED[priority], created_ms, id)
enlist(redis.call("HGET", JOB .. id, "tenant"), "queued", listed_as(created_ms, id))
unlist_deleted(20) -- more than come: the listing cannot grow beyond the records
if key ~= "" then
  settle_key(key, fingerprint, id, key_ms)
end
if batch ~= "" then
  redis.call("HDEL", BATCH .. batch .. ":entries", index)
  redis.call("HSET", BATCH .. batch, "job:" .. index, id)
  redis.call("ZADD", FED, created_ms, id)
  unfeed(batch, index)
end
emit(id, "state", { state = "queued", attempt = 0 })
return { "ok", queued + 1 }
