-- Looks whether a tenant may hand something in now, and counts it against its rate if so.
-- The rate is a leaky bucket kept as one time (GCRA): the moment at which it will be empty. A refusal counts nothing.
-- KEYS: that time, beginning of the name of a day's count. ARGV: rate per second, burst, jobs per day, megapixels per
-- day; 0 is no limit.
-- Gives {name of what refuses or "", milliseconds until the rate allows one, how many it allows now, milliseconds until
-- it allows all, jobs and megapixels of this day, seconds left of it}.
local rate, burst, most_jobs, most_megapixels = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local clock = redis.call("TIME")
local now_ms = clock[1] * 1000 + clock[2] / 1000
local day = math.floor(clock[1] / 86400)
local used = redis.call("HMGET", KEYS[2] .. string.format("%d", day), "jobs", "megapixels")
local jobs, megapixels = tonumber(used[1] or "0"), tonumber(used[2] or "0")

local refused, wait_ms, empty_ms, step_ms = "", 0, now_ms, 0
if most_jobs > 0 and jobs >= most_jobs then
  refused = "daily-jobs"
elseif most_megapixels > 0 and megapixels >= most_megapixels then
  refused = "daily-megapixels"
end
if rate > 0 then
  step_ms = 1000 / rate
  empty_ms = math.max(now_ms, tonumber(redis.call("GET", KEYS[1]) or "0"))
  local next_ms = empty_ms + step_ms - burst * step_ms
  if refused == "" and next_ms > now_ms then
    refused, wait_ms = "rate", next_ms - now_ms
  elseif refused == "" then
    empty_ms = empty_ms + step_ms
    redis.call("SET", KEYS[1], string.format("%.3f", empty_ms), "PX", math.ceil(empty_ms - now_ms) + 1000)
  end
end
local free = rate > 0 and math.floor((now_ms - empty_ms) / step_ms + burst + 0.000001) or 0
return {
  refused, math.ceil(wait_ms), free, math.ceil(empty_ms - now_ms), tostring(jobs), string.format("%.6f", megapixels),
  86400 - clock[1] % 86400,
}
