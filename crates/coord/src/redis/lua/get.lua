-- KEYS: a record. Answers what is stored, nothing at all for another type, and the time.
local time = redis.call('TIME')
local found = redis.pcall('GET', KEYS[1])
if type(found) == 'table' then
  if not string.find(found.err, 'WRONGTYPE', 1, true) then
    return found
  end
  found = ''
end
return {found, time[1] * 1000000 + time[2]}
