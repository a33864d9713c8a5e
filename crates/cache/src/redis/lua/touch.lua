-- ARGV[4]: milliseconds to live.
local state, version, created = look()
if state ~= 'value' then return {CONFLICT, 0, generation or 0} end
-- In this order: behind a first write that needs no room, a server that is full refuses a script no other.
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('SETRANGE', KEYS[1], 0, stamp(version, created, expiry(ARGV[4])))
return {DONE, version, generation}
