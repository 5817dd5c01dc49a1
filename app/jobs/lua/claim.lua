-- Takes up to `limit` jobs for a worker: first those whose lease ran out, then new ones.
-- Args: worker, instance, limit, tick, batch_every, wanted priorities (with commas between), then entry ids that the
-- process holds.
-- Gives {claims, last id of the interactive stream, last id of the batch stream}; a claim is
-- {priority, entry, fence, age in ms, flat record}.
local worker, owner = arg(1), arg(1) .. "/" .. arg(2)
local limit, tick, batch_every = tonumber(arg(3)), tonumber(arg(4)), tonumber(arg(5))
local held, held_count = {}, 0
for i = HEAD + 7, #ARGV do
  held[ARGV[i]] = true
  held_count = held_count + 1
end
local claims = {}

local function is_wanted(priority)
  return string.find("," .. arg(6) .. ",", "," .. priority .. ",", 1, true) ~= nil
end

local function last_id(stream)
  local info = redis.call("XINFO", "STREAM", stream)
  for i = 1, #info, 2 do
    if info[i] == "last-generated-id" then
      return info[i + 1]
    end
  end
end

-- Starts an attempt for a delivered entry, or clears the entry away when there is nothing left to do for it.
-- `is_lost_answer`: the same process was given the job and does not know; that is no failed attempt.
local function take(priority, entry, id, is_lost_answer)
  local job = id and load_job(id)
  if not job or job.entry ~= entry or (job.state ~= "queued" and job.state ~= "running") then
    return drop_entry(priority, entry)
  end
  if job.cancel_requested then
    drop_entry(priority, entry)
    return conclude(job, "canceled")
  end
  local counted = not (is_lost_answer and job.owner == owner)
  if counted and job.deliveries >= MAX_DELIVERIES then
    drop_entry(priority, entry)
    return bury(
      job,
      job.error_code or "worker_lost",
      job.error_detail or ("The job was given to " .. job.deliveries .. " workers and each was lost before it finished.")
    )
  end
  local key = JOB .. id
  local fence = redis.call("HINCRBY", key, "attempt", 1)
  redis.call("HSET", key, "state", "running", "owner", owner, "step", 0, "deliveries", job.deliveries + (counted and 1 or 0))
  redis.call("HSETNX", key, "started_ms", NOW)
  redis.call("ZREM", QUEUED[priority], id)
  relist(job, "running")
  emit(id, "state", { state = "running", attempt = fence })
  -- Both times by this server's clock; a record of an earlier release has only that of the API.
  local accepted_ms = tonumber(redis.call("HGET", key, "accepted_ms") or job.created_ms)
  claims[#claims + 1] = { priority, entry, fence, math.max(0, NOW - accepted_ms), redis.call("HGETALL", key) }
end

local function retake(priority, entry, is_lost_answer)
  local found = redis.call("XRANGE", STREAM[priority], entry, entry)
  if #found == 0 then
    return drop_entry(priority, entry) -- trimmed by hand: nothing to read, and Redis 6.2 would list it for ever
  end
  redis.call("XCLAIM", STREAM[priority], GROUP, worker, 0, entry)
  take(priority, entry, found[1][2][2], is_lost_answer)
  held[entry] = true
end

local function reclaim(priority)
  if not is_wanted(priority) then
    return
  end
  local stream, most = STREAM[priority], held_count + limit + 100 -- some may be over, and give no claim
  -- Pending for this name but unknown to the process: from before a restart, or from an answer that got lost.
  for _, row in ipairs(redis.call("XPENDING", stream, GROUP, "-", "+", most, worker)) do
    if #claims >= limit then
      return
    end
    if not held[row[1]] then
      retake(priority, row[1], true)
    end
  end
  for _, row in ipairs(redis.call("XPENDING", stream, GROUP, "IDLE", LEASE_MS, "-", "+", most)) do
    if #claims >= limit then
      return
    end
    -- What the process holds it will renew as soon as it gets to it; only a lost claim waits a second lease.
    if not (row[2] == worker and held[row[1]]) or row[3] >= 2 * LEASE_MS then
      retake(priority, row[1], false)
    end
  end
end

local function read_new(priority)
  if not is_wanted(priority) then
    return false
  end
  local reply = redis.call("XREADGROUP", "GROUP", GROUP, worker, "COUNT", 1, "STREAMS", STREAM[priority], ">")
  if not reply then
    return false
  end
  local entry, id = reply[1][2][1][1], reply[1][2][1][2][2]
  -- After a group was deleted and made anew, this worker may come by what it works on already.
  if not (held[entry] and redis.call("HGET", JOB .. id, "owner") == owner) then
    take(priority, entry, id)
  end
  return true
end

reclaim("interactive")
reclaim("batch")
-- Canceled jobs give entries without a claim; the bound keeps one call short even after a thousand of them.
for _ = 1, limit + 1000 do
  if #claims >= limit then
    break
  end
  local batch_first = (tick + #claims) % batch_every == batch_every - 1
  local first, second = "interactive", "batch"
  if batch_first then
    first, second = second, first
  end
  if not (read_new(first) or read_new(second)) then
    break
  end
end
return { claims, last_id(STREAM.interactive), last_id(STREAM.batch) }
