-- Put before every script. KEYS come from Keys.script_keys, the head of ARGV from Scripts; see there.
-- Keys whose name ends in a colon are beginnings of names: the job id is added here.
--
-- At its memory limit Redis refuses commands that may need memory, but in a script only as the first write. Every
-- script that must work then, because it frees memory or keeps jobs moving, begins its writes with one that never
-- needs any (XACK, UNLINK, ZREM, PERSIST, PEXPIREAT, XREADGROUP).

local STREAM = { interactive = KEYS[1], batch = KEYS[2] }
local QUEUED = { interactive = KEYS[3], batch = KEYS[4] }
local DEAD, NOTICES, WORKERS = KEYS[5], KEYS[6], KEYS[7]
local JOB, EVENTS, IMAGE, MASK, RESULT, LISTEN = KEYS[8], KEYS[9], KEYS[10], KEYS[11], KEYS[12], KEYS[13]
local LISTED, UNLIST, NEWS, KEY = KEYS[14], KEYS[15], KEYS[16], KEYS[17]
local BATCH, FEED = KEYS[18], KEYS[19]
-- Of the feed: entries whose photos are stored, and the jobs that were made of entries (some may wait no longer).
local STORED, FED = FEED .. ":stored", FEED .. ":fed"
local OUTBOX, DELIVERY, DELIVERIES, ENDPOINT = KEYS[20], KEYS[21], KEYS[22], KEYS[23]
local OBJECTS = KEYS[24]
-- Of the dead jobs, those whose photos are in Redis' memory, by the time of their end.
local DEAD_PHOTOS = DEAD .. ":photos"

local GROUP = ARGV[1]
local EVENT_MAXLEN, DEAD_MAXLEN = ARGV[2], ARGV[3]
local RECORD_MS, RESULT_MS = tonumber(ARGV[4]), tonumber(ARGV[5])
local MAX_DELIVERIES, LEASE_MS, DEAD_MS = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local HEAD = 8 -- what every script gets; behind it comes what is its own
local function arg(i)
  return ARGV[HEAD + i]
end

-- The server's clock, so that API and workers on different machines agree on every time.
local clock = redis.call("TIME")
local NOW = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function load_job(id)
  local v = redis.call(
    "HMGET", JOB .. id,
    "state", "attempt", "deliveries", "priority", "entry", "cancel_requested", "created_ms", "owner",
    "error_code", "error_detail", "tenant", "batch_id", "webhook", "webhook_events", "retries", "dead", "dead_until_ms"
  )
  if not v[1] then
    return nil
  end
  return {
    id = id, state = v[1], attempt = tonumber(v[2]) or 0, deliveries = tonumber(v[3]) or 0, priority = v[4],
    entry = v[5], cancel_requested = v[6] == "1", created_ms = v[7], owner = v[8],
    error_code = v[9], error_detail = v[10], tenant = v[11] or "default",
    batch = v[12] or "", webhook = v[13] or "", webhook_events = v[14] or "", retries = tonumber(v[15]) or 0,
    dead = v[16], dead_until_ms = tonumber(v[17]) or 0,
  }
end

-- Adds an event, with bytes if there are any, tells those who follow, and gives its id.
local function emit(id, kind, data, bytes)
  data.at_ms = NOW
  local event = redis.call(
    "XADD", EVENTS .. id, "MAXLEN", "=", EVENT_MAXLEN, "*",
    "type", kind, "data", cjson.encode(data), unpack(bytes and { "bytes", bytes } or {})
  )
  redis.pcall("PUBLISH", NEWS, id) -- a courtesy: where it is forbidden, followers look by themselves
  return event
end

-- The listing. A tenant's jobs lie in one sorted set per state, all with score 0, so that they are in the order of
-- their members, "created_ms:id": a place in that order stays where it is while jobs come and go. A record that gets
-- an end also gets a line in UNLIST, and whoever comes by after that time takes the job out of the listing.
local function listed_as(created_ms, id)
  return string.rep("0", 13 - #created_ms) .. created_ms .. ":" .. id
end

local function enlist(tenant, state, member)
  redis.call("ZADD", LISTED .. tenant .. ":" .. state, 0, member)
end

-- Moves a job to the set of another state.
local function relist(job, state)
  local member = listed_as(job.created_ms, job.id)
  redis.call("ZREM", LISTED .. job.tenant .. ":" .. job.state, member)
  enlist(job.tenant, state, member)
end

-- Takes up to `most` jobs whose records have been deleted out of the listing.
local function unlist_deleted(most)
  for _, line in ipairs(redis.call("ZRANGEBYSCORE", UNLIST, "-inf", NOW, "LIMIT", 0, most)) do
    local state, member, tenant = string.match(line, "^(%a+):(%d+:[^:]+):(.*)$")
    redis.call("ZREM", LISTED .. tenant .. ":" .. state, member)
    redis.call("ZREM", UNLIST, line)
  end
end

-- Takes the job's preview out of its events; only the newest one is kept, and none after the end.
local function drop_preview(id)
  local event = redis.call("HGET", JOB .. id, "preview")
  if event then
    redis.call("XDEL", EVENTS .. id, event)
    redis.call("HDEL", JOB .. id, "preview")
  end
end

-- Whether somebody listens to the job's events; see `JobQueue.listen`.
local function is_watched(id)
  return redis.call("EXISTS", LISTEN .. id) == 1
end

-- What a worker is told about a job that it holds: {owned, cancel requested, watched} as 0 or 1.
local function renewal(job)
  return { 1, job.cancel_requested and 1 or 0, is_watched(job.id) and 1 or 0 }
end

local function is_before(entry, other)
  local ms, number = string.match(entry, "(%d+)-(%d+)")
  local other_ms, other_number = string.match(other, "(%d+)-(%d+)")
  if ms == other_ms then
    return tonumber(number) < tonumber(other_number)
  end
  return tonumber(ms) < tonumber(other_ms)
end

-- Acknowledges an entry, and takes away all before the first one that is pending or was not delivered yet. What is
-- acknowledged behind that one stays until then: a hole between entries (XDEL) makes the group's lag unreadable.
local function drop_entry(priority, entry)
  local stream = STREAM[priority]
  redis.call("XACK", stream, GROUP, entry)
  local groups = redis.pcall("XINFO", "GROUPS", stream)
  for _, row in ipairs(groups.err and {} or groups) do
    local group = {}
    for i = 1, #row, 2 do
      group[row[i]] = row[i + 1]
    end
    if group.name == GROUP then
      local first = string.gsub(group["last-delivered-id"], "%d+$", function(number)
        return string.format("%.0f", number + 1)
      end)
      local pending = redis.call("XPENDING", stream, GROUP)[2]
      if pending and is_before(pending, first) then
        first = pending
      end
      redis.call("XTRIM", stream, "MINID", first)
    end
  end
end

-- Puts a webhook into the outbox, in the very step that makes true what it tells: neither is there without the other.
-- `subject` is the job, or batch:index of an entry that is none; `about` is a flat list of names and values. A message
-- has the same id however often it is put there, and says nothing of the job to those who see the id alone; each life
-- of a job (`retries` of them before) has messages of its own.
local OUTBOX_MS = 7 * 24 * 3600 * 1000 -- longer than any schedule: should nobody ever send, it goes by itself
local function tell(event, subject, batch, tenant, url, events, about, retries)
  if url == "" or not string.find("," .. events .. ",", "," .. event .. ",", 1, true) then
    return
  end
  local id = "msg_" .. redis.sha1hex(subject .. ":" .. event .. ((retries or 0) > 0 and ":" .. retries or ""))
  local key = DELIVERY .. id
  local endpoint = redis.sha1hex(tenant .. " " .. (string.match(url, "^[^/]+//[^/?#]+") or url))
  if redis.call("EXISTS", key) == 1 then
    return
  end
  redis.call(
    "HSET", key, "id", id, "event", event, "subject", subject, "batch", batch, "tenant", tenant, "url", url,
    "endpoint", endpoint, "at_ms", NOW, "state", "pending", "next_ms", NOW, "about", cjson.encode(about)
  )
  redis.call("PEXPIRE", key, OUTBOX_MS)
  redis.call("RPUSH", DELIVERIES .. subject, id)
  redis.call("PEXPIRE", DELIVERIES .. subject, OUTBOX_MS)
  redis.call("ZADD", OUTBOX, NOW, endpoint .. ":" .. id)
end

-- From when on a webhook is settled it stays as long as a record does, and so does the list that names it, unless
-- another one in there is still to be sent.
local function keep_settled(id)
  redis.call("PEXPIRE", DELIVERY .. id, RECORD_MS + RESULT_MS)
  local list = DELIVERIES .. (redis.call("HGET", DELIVERY .. id, "subject") or "")
  for _, other in ipairs(redis.call("LRANGE", list, 0, -1)) do
    if redis.call("HGET", DELIVERY .. other, "state") == "pending" then
      return
    end
  end
  redis.call("PEXPIRE", list, RECORD_MS + RESULT_MS)
end

-- Photos in an object store, where Redis cannot delete them itself. OBJECTS has every one of them ("image:ID", "mask:ID",
-- "result:ID:FENCE") by the time from which it may be deleted, and had it before the object was written; who deletes
-- them is `app.jobs.objects`. Without an object store the set is empty, and changing what is in it (XX) does nothing.
local UPLOAD_GRACE_MS = 10000 -- a crash of Redis may forget its last second, and then a job that had ended runs again

local function is_kept(key, member)
  return redis.call("EXISTS", key) == 1 or redis.call("ZSCORE", OBJECTS, member) ~= false
end

-- Keeps photo and mask for as long as the job needs them. Works at the memory limit too.
local function keep_upload(id)
  redis.call("PERSIST", IMAGE .. id)
  redis.call("PERSIST", MASK .. id)
  redis.call("ZADD", OBJECTS, "XX", "+inf", "image:" .. id, "+inf", "mask:" .. id)
end

-- Keeps photo and mask until then, for a job that has ended and may be retried. Works at the memory limit too.
local function keep_upload_until(id, until_ms)
  redis.call("PEXPIREAT", IMAGE .. id, until_ms)
  redis.call("PEXPIREAT", MASK .. id, until_ms)
  local due = until_ms + UPLOAD_GRACE_MS -- so that no sweep has begun to delete what is taken back at the last moment
  redis.call("ZADD", OBJECTS, "XX", due, "image:" .. id, due, "mask:" .. id)
end

-- Works at the memory limit too.
local function drop_upload(id)
  redis.call("UNLINK", IMAGE .. id, MASK .. id)
  local due = NOW + UPLOAD_GRACE_MS
  redis.call("ZADD", OBJECTS, "XX", due, "image:" .. id, due, "mask:" .. id)
end

-- Keeps the result of an attempt until then.
local function keep_result(id, fence, until_ms)
  redis.call("PEXPIREAT", RESULT .. id .. ":" .. fence, until_ms)
  redis.call("ZADD", OBJECTS, "XX", until_ms, "result:" .. id .. ":" .. fence)
end

-- Notes that a running job has ended, for `app.jobs.pace`: decayed sums of the ends, and of the times between them, while
-- jobs waited. Longer breaks (of the whole service) count as ten minutes. After ZREM from the depth.
local PACE = NOTICES .. ":pace"
local PACE_KEEPS, PACE_BREAK_MS = 0.95, 600000
local function note_pace()
  local v = redis.call("HMGET", PACE, "ends", "busy_ms", "at_ms", "waited")
  local ends, busy_ms = tonumber(v[1] or "0"), tonumber(v[2] or "0")
  if v[4] == "1" then
    ends = ends * PACE_KEEPS + 1
    busy_ms = busy_ms * PACE_KEEPS + math.max(0, math.min(PACE_BREAK_MS, NOW - tonumber(v[3])))
  end
  local waits = redis.call("ZCARD", QUEUED.interactive) + redis.call("ZCARD", QUEUED.batch) > 0
  redis.call(
    "HSET", PACE, "ends", string.format("%.6f", ends), "busy_ms", string.format("%.3f", busy_ms),
    "at_ms", string.format("%.0f", NOW), "waited", waits and "1" or "0"
  )
end

-- Makes a job terminal. `fields` is a flat list of further hash fields. Frees the upload first of all, unless it is to be
-- kept for `upload_ms`: then the record stays at least as long.
local function conclude(job, state, fields, upload_ms)
  local key = JOB .. job.id
  local keep_ms = math.max(RECORD_MS, upload_ms or 0)
  if (upload_ms or 0) > 0 then
    keep_upload_until(job.id, NOW + upload_ms)
  else
    drop_upload(job.id)
  end
  drop_preview(job.id)
  redis.call("HSET", key, "state", state, "finished_ms", NOW, unpack(fields or {}))
  redis.call("HDEL", key, "owner")
  if state == "succeeded" then
    keep_ms = RECORD_MS + RESULT_MS
    redis.call("HSET", key, "expires_ms", NOW + RESULT_MS)
    keep_result(job.id, job.attempt, NOW + RESULT_MS)
  end
  redis.call("ZREM", QUEUED[job.priority], job.id)
  if job.state == "running" then
    note_pace()
  end
  relist(job, state)
  redis.call("ZADD", UNLIST, NOW + keep_ms, state .. ":" .. listed_as(job.created_ms, job.id) .. ":" .. job.tenant)
  emit(job.id, "state", { state = state, attempt = job.attempt })
  redis.call("PEXPIRE", key, keep_ms)
  redis.call("PEXPIRE", EVENTS .. job.id, keep_ms)
  redis.call("XADD", NOTICES, "MAXLEN", "~", DEAD_MAXLEN, "*", "job", job.id, "state", state)
  if job.webhook ~= "" then
    local about = redis.call("HGETALL", key)
    tell("job." .. state, job.id, job.batch, job.tenant, job.webhook, job.webhook_events, about, job.retries)
  end
end

local function fail_job(job, code, detail, upload_ms)
  conclude(job, "failed", { "error_code", code, "error_detail", detail }, upload_ms)
end

-- Takes dead jobs out whose records are gone by now.
local DEAD_RECORD_MS = math.max(RECORD_MS, DEAD_MS)
local function forget_dead()
  redis.call("ZREMRANGEBYSCORE", DEAD_PHOTOS, "-inf", NOW - DEAD_MS)
  redis.call("XTRIM", DEAD, "MINID", NOW - DEAD_RECORD_MS)
end

-- The end of a job whose deliveries are used up. It stays on record for people to look at, and for a time with its photo,
-- so that they can have it tried again (`dead_retry`); not if its caller wants it no more.
local function bury(job, code, detail)
  local upload_ms = job.cancel_requested and 0 or DEAD_MS
  fail_job(job, code, detail, upload_ms)
  local entry = redis.call(
    "XADD", DEAD, "MAXLEN", "~", DEAD_MAXLEN, "*",
    "job", job.id, "code", code, "detail", detail, "deliveries", job.deliveries, "at_ms", NOW
  )
  redis.call("HSET", JOB .. job.id, "dead", entry, "dead_until_ms", NOW + upload_ms)
  if redis.call("EXISTS", IMAGE .. job.id) == 1 then
    redis.call("ZADD", DEAD_PHOTOS, NOW, job.id)
    redis.call("PEXPIRE", DEAD_PHOTOS, DEAD_MS)
  end
  forget_dead()
  redis.call("PEXPIRE", DEAD, DEAD_RECORD_MS) -- should no other job ever die
end

-- Takes a job out of the dead ones. Works at the memory limit too.
local function unbury(job)
  redis.call("ZREM", DEAD_PHOTOS, job.id)
  redis.call("XDEL", DEAD, job.dead)
  redis.call("HDEL", JOB .. job.id, "dead", "dead_until_ms")
end

-- Lets any worker take the job at once: a new entry, because Redis has no release of a pending one before 8.8, and
-- because the autoscaler sees new entries only. Keeps the job's place in the depth by its creation time.
local function enqueue(job, deliveries)
  local entry = redis.call("XADD", STREAM[job.priority], "*", "job", job.id)
  local key = JOB .. job.id
  redis.call("HSET", key, "state", "queued", "entry", entry, "deliveries", deliveries, "step", 0)
  redis.call("HDEL", key, "owner")
  redis.call("ZADD", QUEUED[job.priority], job.created_ms, job.id)
  relist(job, "queued")
  emit(job.id, "state", { state = "queued", attempt = job.attempt })
end

-- Takes a job from the worker that holds it and lets others have it.
local function requeue(job, deliveries)
  drop_entry(job.priority, job.entry)
  if job.cancel_requested then
    return conclude(job, "canceled")
  end
  enqueue(job, deliveries)
end

-- The job if this claim (id, fence, entry, owner) is its latest attempt and still runs, else nil. The owner counts too:
-- a Redis that comes back without its last writes gives the same fence out twice.
local function load_held(id, fence, entry, owner)
  local job = load_job(id)
  if job and job.state == "running" and job.attempt == tonumber(fence) and job.entry == entry and job.owner == owner then
    return job
  end
  return nil
end

-- Whether this very attempt is already in that state: then the commit was made before and its answer got lost.
local function is_settled(id, fence, state)
  local job = load_job(id)
  return job ~= nil and job.state == state and job.attempt == tonumber(fence)
end

-- Whether new jobs must wait because memory is short: above this share of Redis' limit (1 = all of it), the rest is
-- for results. With `more_bytes`, whether it would be with that many more. False where there is no limit, or where
-- asking is forbidden. Photos of dead jobs are in nobody's way: the oldest are given up if that makes room.
local GIVEN_UP_AT_ONCE = 100
local function is_memory_short(share, more_bytes)
  for given_up = 0, GIVEN_UP_AT_ONCE do
    local info = redis.pcall("INFO", "memory")
    if type(info) ~= "string" then
      return false
    end
    local function number(name)
      return tonumber(string.match(info, name .. ":(%d+)") or "0")
    end
    local limit = number("maxmemory")
    local used, more = number("used_memory") - number("mem_not_counted_for_evict"), more_bytes or 0
    if limit == 0 or used + more <= limit * share then
      return false
    end
    if more > limit * share or given_up == GIVEN_UP_AT_ONCE then
      return true -- it never has room, or not now
    end
    local oldest = redis.call("ZPOPMIN", DEAD_PHOTOS)[1] -- works at the memory limit too
    if not oldest then
      return true
    end
    redis.call("UNLINK", IMAGE .. oldest, MASK .. oldest)
  end
end

-- Takes an entry of a batch out of the feed.
local function unfeed(batch, index)
  redis.call("ZREM", FEED, batch .. ":" .. index)
  redis.call("ZREM", STORED, batch .. ":" .. index)
end

-- Number of entries of all batches that are no jobs yet.
local function entries_waiting()
  return redis.call("ZCARD", FEED) + redis.call("ZCARD", STORED)
end
