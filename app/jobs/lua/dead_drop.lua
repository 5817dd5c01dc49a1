-- Gives up a dead job: it leaves the dead ones and its photo goes; record and events stay until their time. Args: id.
-- Gives "ok"|"unknown"|"alive".
local job = load_job(arg(1))
if not job then
  return "unknown"
end
if not job.dead then
  return "alive"
end
drop_upload(job.id)
unbury(job)
return "ok"
