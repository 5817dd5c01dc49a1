-- Takes webhooks that are due, for a while: whoever takes one settles it in that time, or it is given out again, and the
-- lost try counts as a failure. Args: most to take, lease in milliseconds, most at a time to one endpoint, then the
-- endpoint of each that this process is sending. Gives {number of the try, flat record} of each.
local limit, lease_ms, most = tonumber(arg(1)), tonumber(arg(2)), tonumber(arg(3))
local busy, is_full, until_ms, taken = {}, {}, {}, {}
for i = HEAD + 4, #ARGV do
  busy[ARGV[i]] = (busy[ARGV[i]] or 0) + 1
end
redis.call("PERSIST", OUTBOX) -- works at the memory limit too; see the prelude

-- Looks at one due message and takes it if that may be; gives whether it stays where it is in the line.
local function look(member)
  local endpoint, id = string.match(member, "^(%x+):(.*)$")
  local key = DELIVERY .. id
  if not until_ms[endpoint] then
    until_ms[endpoint] = tonumber(redis.call("GET", ENDPOINT .. endpoint) or "0")
  end
  if until_ms[endpoint] > NOW then
    -- Out of the way of others; for an endpoint that is only busy it stays first in line.
    redis.call("ZADD", OUTBOX, until_ms[endpoint], member)
    return false
  end
  if (busy[endpoint] or 0) >= most then
    is_full[endpoint] = true
    return true
  end
  local v = redis.call("HMGET", key, "state", "batch", "url", "open")
  if v[1] ~= "pending" then
    redis.call("ZREM", OUTBOX, member) -- past its time
  elseif v[2] ~= "" and redis.call("HEXISTS", BATCH .. v[2], "off:" .. redis.sha1hex(v[3])) == 1 then
    redis.call("ZREM", OUTBOX, member)
    redis.call("HSET", key, "state", "disabled")
    redis.call("HDEL", key, "about", "next_ms")
    keep_settled(id)
  else
    if v[4] then
      redis.call("HINCRBY", key, "failures", 1)
    end
    local try = redis.call("HINCRBY", key, "tries", 1)
    redis.call("HSET", key, "open", 1, "try:" .. try, cjson.encode({ at_ms = NOW }), "next_ms", NOW + lease_ms)
    redis.call("ZADD", OUTBOX, NOW + lease_ms, member)
    busy[endpoint] = (busy[endpoint] or 0) + 1
    taken[#taken + 1] = { try, redis.call("HGETALL", key) }
  end
  return false
end

-- Looks at some due messages from a place in the line on, until enough are taken. Gives how many there were, how many of
-- them stay where they are, and the last of those.
local LOOKED_AT = 1000 -- keeps one call short
local ENDPOINT_LENGTH = 40 -- of a SHA-1 in hexadecimal digits
local function look_from(place)
  local members = redis.call("ZRANGEBYSCORE", OUTBOX, "-inf", NOW, "LIMIT", place, LOOKED_AT)
  local staying, last = 0, nil
  for _, member in ipairs(members) do
    if #taken >= limit then
      break
    end
    -- Of a long line most are passed over, by the name alone: this is what a call spends its time on.
    if is_full[string.sub(member, 1, ENDPOINT_LENGTH)] or look(member) then
      staying, last = staying + 1, member
    end
  end
  return #members, staying, last
end

-- The front of the line first. Where it is full of messages to busy endpoints, each call looks a bit further behind it:
-- many calls see the whole line, however long, and none takes long.
local SEARCHED = OUTBOX .. ":searched"
local SEARCH_MS = 60000 -- after a break it begins anew
local found, staying = look_from(0)
if found == LOOKED_AT and #taken < limit then
  local last = redis.call("GET", SEARCHED)
  local rank = last and redis.call("ZRANK", OUTBOX, last)
  found, staying, last = look_from(math.max(staying, rank and rank + 1 or 0))
  if found < LOOKED_AT then
    redis.call("UNLINK", SEARCHED)
  elseif last then
    redis.call("SET", SEARCHED, last, "PX", SEARCH_MS)
  end
end
return taken
