-- Counts a job against a tenant's day, or gives back what was counted (negative numbers), or refuses.
-- KEYS: beginning of the name of a day's count. ARGV: jobs, megapixels, jobs per day, megapixels per day (0 is no limit),
-- day ("" for today).
-- Gives {name of what refuses or "", jobs and megapixels of that day, seconds left of it, day}.
local jobs, megapixels, most_jobs, most_megapixels = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local clock = redis.call("TIME")
local day = ARGV[5] ~= "" and ARGV[5] or string.format("%d", math.floor(clock[1] / 86400))
local name = KEYS[1] .. day
local used = redis.call("HMGET", name, "jobs", "megapixels")
local used_jobs, used_megapixels = tonumber(used[1] or "0"), tonumber(used[2] or "0")
local refused = ""
if jobs > 0 and most_jobs > 0 and used_jobs + jobs > most_jobs then
  refused = "daily-jobs"
elseif jobs > 0 and most_megapixels > 0 and used_megapixels + megapixels > most_megapixels then
  refused = "daily-megapixels"
else
  used_jobs, used_megapixels = math.max(0, used_jobs + jobs), math.max(0, used_megapixels + megapixels)
  redis.call("HSET", name, "jobs", used_jobs, "megapixels", string.format("%.6f", used_megapixels))
  redis.call("EXPIRE", name, 2 * 86400)
end
return { refused, tostring(used_jobs), string.format("%.6f", used_megapixels), 86400 - clock[1] % 86400, day }
