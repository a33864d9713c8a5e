-- KEYS: records of one namespace. Answers what is stored of each, and the time.
local time = redis.call('TIME')
local found = {}
for at = 1, #KEYS do
  found[at] = redis.call('GET', KEYS[at])
end
return {found, time[1] * 1000000 + time[2]}
