-- Answers 1 if it is held anew, 0 if it was over, or 3 if what is there are no permits.
local over = redis.pcall('ZSCORE', KEYS[1], ARGV[1])
if type(over) == 'table' then
  return string.find(over.err, 'WRONGTYPE', 1, true) and 3 or over
end
if not over or tonumber(over) <= now then
  return 0
end
-- A permit that is held needs no room, and is held anew on a server that is full: behind a first write that needs none, and here
-- changes nothing, Redis refuses a script no other.
redis.call('ZREM', KEYS[1], '')
hold()
return 1
