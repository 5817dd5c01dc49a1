-- Looks whether a batch whose photos are to be stored would be accepted now.
-- Args: most entries that wait, memory share, number of its entries, bytes of its photos.
-- Gives {"ok"|"full"|"memory", entries that wait}.
local waiting = entries_waiting()
if waiting + tonumber(arg(3)) > tonumber(arg(1)) then
  return { "full", waiting }
end
if is_memory_short(tonumber(arg(2)), tonumber(arg(4))) then
  return { "memory", waiting }
end
return { "ok", waiting }
