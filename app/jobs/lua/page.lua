-- Lists jobs of a tenant, newest first. Args: tenant, states comma-separated (those of the listing), states wanted
-- comma-separated (with "expired"), upper bound and lower bound as ZREVRANGEBYLEX takes them, most jobs, most records
-- to look at, priority or "", model or "", whether that model is the default one (0 or 1).
-- Gives {place to go on from or "", then per job {flat record, position in the queue or 0}}.
local tenant, upper, lower = arg(1), arg(4), arg(5)
local limit, look_at, priority, model, is_default = tonumber(arg(6)), tonumber(arg(7)), arg(8), arg(9), arg(10) == "1"
local CHUNK = math.min(limit, 100)
local wanted = {}
for state in string.gmatch(arg(3), "%a+") do
  wanted[state] = true
end
unlist_deleted(100)

-- One reader per state; the next job of all is the greatest of their heads.
local readers = {}
local function refill(reader)
  reader.rows = redis.call("ZREVRANGEBYLEX", reader.key, reader.upper, lower, "LIMIT", 0, CHUNK)
  reader.at = 1
end
for state in string.gmatch(arg(2), "%a+") do
  local reader = { key = LISTED .. tenant .. ":" .. state, upper = upper }
  refill(reader)
  readers[#readers + 1] = reader
end
local function next_member()
  local best
  for _, reader in ipairs(readers) do
    local head = reader.rows[reader.at]
    if head and (not best or head > best.rows[best.at]) then
      best = reader
    end
  end
  return best and best.rows[best.at], best
end
local function step_over(reader)
  local member = reader.rows[reader.at]
  reader.at = reader.at + 1
  if reader.at > #reader.rows and #reader.rows == CHUNK then
    reader.upper = "(" .. member
    refill(reader)
  end
end

local function is_wanted(key)
  local v = redis.call("HMGET", key, "state", "expires_ms", "priority", "model", "options")
  if not v[1] then
    return false -- deleted, and not yet taken out of the listing
  end
  local state = v[1]
  if state == "succeeded" and v[2] and tonumber(v[2]) <= NOW then
    state = "expired"
  end
  if not wanted[state] or (priority ~= "" and v[3] ~= priority) then
    return false
  end
  if model == "" then
    return true
  end
  -- Before a worker has begun, the job has the model that it asks for.
  local named = v[4] or cjson.decode(v[5]).model
  return named == model or (not named and is_default)
end

local function position(id, of)
  local rank = redis.call("ZRANK", QUEUED[of], id)
  if not rank then
    return 0
  end
  return rank + 1 + (of == "batch" and redis.call("ZCARD", QUEUED.interactive) or 0)
end

local answer, member, reader, last = { "" }, nil, nil, nil
while true do
  member, reader = next_member()
  if not member then
    return answer
  end
  if #answer > limit or look_at == 0 then
    answer[1] = last
    return answer
  end
  local id = string.match(member, ":(.*)$")
  if is_wanted(JOB .. id) then
    answer[#answer + 1] = {
      redis.call("HGETALL", JOB .. id), position(id, redis.call("HGET", JOB .. id, "priority"))
    }
  end
  last = member
  look_at = look_at - 1
  step_over(reader)
end
