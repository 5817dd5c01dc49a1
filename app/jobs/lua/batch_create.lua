-- Accepts a batch: record, entries and their places in the feed at once. Args: id, tenant, created_ms, time to keep it,
-- Idempotency-Key (empty for none), fingerprint, token, time to keep the key, then the entries.
-- Gives {"ok"|"known"|"reused"|"accepting"|"repeated", id of the first batch of that key}.
local id, tenant, created_ms, ttl_ms = arg(1), arg(2), arg(3), arg(4)
local key, fingerprint, token, key_ms = arg(5), arg(6), arg(7), arg(8)
if redis.call("EXISTS", BATCH .. id) == 1 then
  return { "known", id }
end
if key ~= "" then
  local obstacle, first = key_obstacle(key, fingerprint, token)
  if obstacle then
    return { obstacle, first or "" }
  end
end
local total = #ARGV - 15
redis.call("HSET", BATCH .. id, "id", id, "tenant", tenant, "created_ms", created_ms, "total", total)
for i = 1, total do
  redis.call("HSET", BATCH .. id .. ":entries", i - 1, ARGV[15 + i])
  -- A thousandth of a millisecond apart, so that they are taken in their order.
  redis.call("ZADD", FEED, NOW + i / 1000, id .. ":" .. (i - 1))
end
redis.call("PEXPIRE", BATCH .. id, ttl_ms)
redis.call("PEXPIRE", BATCH .. id .. ":entries", ttl_ms)
if key ~= "" then
  settle_key(key, fingerprint, id, key_ms)
end
return { "ok", "" }
