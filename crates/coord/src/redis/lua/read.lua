-- KEYS: records of one namespace. Answers what is stored of each, nothing at all for another type, and the time.
local time = redis.call('TIME')
local found = {}
for at = 1, #KEYS do
  local stored = redis.pcall('GET', KEYS[at])
  if type(stored) == 'table' and string.find(stored.err, 'WRONGTYPE', 1, true) then
    stored = ''
  end
  if type(stored) == 'table' then
    return stored
  end
  found[at] = stored
end
return {found, time[1] * 1000000 + time[2]}
