-- KEYS: a counter. Answers 1, what it is, and how many milliseconds it still lives, less than 0 if it stays; 0 if there is
-- none; or 3 if what is there is no counter.
local found = redis.pcall('GET', KEYS[1])
if type(found) == 'table' and not string.find(found.err, 'WRONGTYPE', 1, true) then
  return found
end
if not found then
  return {0, 0, 0}
end
local value = type(found) == 'string' and string.match(found, '^-?%d+$') and tonumber(found)
if not value or math.abs(value) > 9007199254740991 then
  return {3, 0, 0}
end
return {1, value, redis.call('PTTL', KEYS[1])}
