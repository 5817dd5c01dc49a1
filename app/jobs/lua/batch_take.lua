-- Takes entries of batches for a while: whoever takes one settles it in that time, or it is given out again.
-- Args: limit, lease in milliseconds, most jobs made of entries that may wait, whether entries with URLs are wanted (0 or
-- 1), bound of the queue, memory share. Gives {batch id, index, times taken, tenant, entry} of each.
local lease_ms, memory_share = tonumber(arg(2)), tonumber(arg(6))
redis.call("PERSIST", STORED) -- works at the memory limit too; see the prelude

-- Counted apart from other jobs of this priority, which must not keep batches waiting. Workers do not know of this set:
-- what no longer waits in the queue is taken out here.
local fed = 0
for _, id in ipairs(redis.call("ZRANGE", FED, 0, -1)) do
  if redis.call("ZSCORE", QUEUED.batch, id) then
    fed = fed + 1
  else
    redis.call("ZREM", FED, id)
  end
end
local queued = redis.call("ZCARD", QUEUED.interactive) + redis.call("ZCARD", QUEUED.batch)
local limit = math.min(tonumber(arg(1)), tonumber(arg(3)) - fed, tonumber(arg(5)) - queued)
if limit <= 0 then
  return {}
end

-- {feed, member, time} of what is due, oldest first.
local due = {}
local function add_due(feed)
  local rows = redis.call("ZRANGEBYSCORE", feed, "-inf", NOW + 1, "WITHSCORES", "LIMIT", 0, limit)
  for i = 1, #rows, 2 do
    due[#due + 1] = { feed, rows[i], tonumber(rows[i + 1]) }
  end
end
add_due(STORED)
-- Asked only where there is something to fetch: where memory is short, photos of dead jobs are given up for it.
local is_any = arg(4) == "1" and #redis.call("ZRANGEBYSCORE", FEED, "-inf", NOW + 1, "LIMIT", 0, 1) > 0
if is_any and not is_memory_short(memory_share) then
  add_due(FEED)
end
table.sort(due, function(a, b)
  return a[3] < b[3]
end)

local taken = {}
for i = 1, math.min(limit, #due) do
  local feed, member = due[i][1], due[i][2]
  local id, index = string.match(member, "^(.*):(%d+)$")
  local entry = redis.call("HGET", BATCH .. id .. ":entries", index)
  local tenant = redis.call("HGET", BATCH .. id, "tenant")
  if entry and tenant then
    redis.call("ZADD", feed, NOW + lease_ms, member)
    local tries = redis.call("HINCRBY", BATCH .. id, "tries:" .. index, 1)
    taken[#taken + 1] = { id, index, tries, tenant, entry }
  else
    redis.call("ZREM", feed, member) -- the batch is past its time
  end
end
return taken
