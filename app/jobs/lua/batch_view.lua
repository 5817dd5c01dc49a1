-- Tells how far a batch is. Args: batch id.
-- Gives {record, indexes that wait to become jobs, {index, job id, state, expires_ms} of each job, this moment}.
local id = arg(1)
local record = redis.call("HGETALL", BATCH .. id)
local jobs = {}
for i = 1, #record, 2 do
  local index = string.match(record[i], "^job:(%d+)$")
  if index then
    local v = redis.call("HMGET", JOB .. record[i + 1], "state", "expires_ms")
    jobs[#jobs + 1] = { index, record[i + 1], v[1] or "", v[2] or "" }
  end
end
return { record, redis.call("HKEYS", BATCH .. id .. ":entries"), jobs, NOW }
