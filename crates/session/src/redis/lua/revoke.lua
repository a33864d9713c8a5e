-- KEYS: what is written, and what that may not be below, of what lies on this server. ARGV: the least that it is then, how far it is
-- ahead of the clock, and for how long it is kept, in milliseconds. Answers what it is: later than all of these were.
local next = math.max(tonumber(ARGV[1]), now + ARGV[2])
for _, key in ipairs(KEYS) do
  next = math.max(next, 1 + epoch_of(key))
end
-- Sessions end on a server that is full as well: behind a first write that needs no room, Redis refuses a script no other.
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], string.format('%.0f', next), 'PX', ARGV[3])
return next
