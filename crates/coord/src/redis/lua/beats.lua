-- KEYS: who beats in a group. Answers their names and when each is over, in turns, and the time; nobody for what is no such set.
local time = redis.call('TIME')
local found = redis.pcall('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
if found.err then
  if not string.find(found.err, 'WRONGTYPE', 1, true) then
    return found
  end
  found = {}
end
return {found, time[1] * 1000000 + time[2]}
