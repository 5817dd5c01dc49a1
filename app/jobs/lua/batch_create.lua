-- Accepts a batch: record, entries and their places in the feed at once. Args: id, tenant, created_ms, time to keep it,
-- Idempotency-Key (empty for none), fingerprint, token, time to keep the key, most entries that wait, memory share, then
-- for each entry the id under which its photo is stored (empty when it has a URL) and the entry.
-- Gives {"ok"|"known"|"reused"|"accepting"|"repeated"|"full"|"memory"|"lost", id of the first batch of that key, or the
-- number of entries that wait}; "lost" means that a stored photo is gone.
local id, tenant, created_ms, ttl_ms = arg(1), arg(2), arg(3), arg(4)
local key, fingerprint, token, key_ms = arg(5), arg(6), arg(7), arg(8)
local FIRST = HEAD + 11
if redis.call("EXISTS", BATCH .. id) == 1 then
  return { "known", id }
end
if key ~= "" then
  local obstacle, first = key_obstacle(key, fingerprint, token)
  if obstacle then
    return { obstacle, first or "" }
  end
end
local total, waiting, is_stored = (#ARGV - FIRST + 1) / 2, entries_waiting(), false
if waiting + total > tonumber(arg(9)) then
  return { "full", waiting }
end
for i = FIRST, #ARGV, 2 do
  if ARGV[i] ~= "" then
    is_stored = true
    if not is_kept(IMAGE .. ARGV[i], "image:" .. ARGV[i]) then
      return { "lost", "" }
    end
  end
end
-- For photos that are stored `batch_room` was asked before.
if not is_stored and is_memory_short(tonumber(arg(10))) then
  return { "memory", waiting }
end
redis.call("HSET", BATCH .. id, "id", id, "tenant", tenant, "created_ms", created_ms, "total", total)
for i = 1, total do
  local photo, entry = ARGV[FIRST + 2 * i - 2], ARGV[FIRST + 2 * i - 1]
  redis.call("HSET", BATCH .. id .. ":entries", i - 1, entry)
  -- A thousandth of a millisecond apart, so that they are taken in their order.
  redis.call("ZADD", photo == "" and FEED or STORED, NOW + i / 1000, id .. ":" .. (i - 1))
  if photo ~= "" then
    redis.call("PEXPIRE", IMAGE .. photo, ttl_ms)
    redis.call("ZADD", OBJECTS, "XX", NOW + tonumber(ttl_ms), "image:" .. photo)
  end
end
redis.call("PEXPIRE", BATCH .. id, ttl_ms)
redis.call("PEXPIRE", BATCH .. id .. ":entries", ttl_ms)
if key ~= "" then
  settle_key(key, fingerprint, id, key_ms)
end
return { "ok", "" }
