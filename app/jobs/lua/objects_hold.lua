-- Notes photos before they go into the object store. Args: milliseconds from which on they may be deleted unless a job
-- needs them, then the photos as OBJECTS has them.
redis.call("PERSIST", OBJECTS) -- works at the memory limit too: results must get out of here, see the prelude
local due = NOW + tonumber(arg(1))
for i = HEAD + 2, #ARGV do
  redis.call("ZADD", OBJECTS, "GT", due, ARGV[i]) -- GT: one that a job needs stays as it is
end
return 1
