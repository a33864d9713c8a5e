-- Ends the lease of a reservation whose answer nobody got. ARGV[4]: who has made it.
local state, version, _, writer = look()
if state == 'lease' and writer == ARGV[4] then redis.call('UNLINK', KEYS[1]) end
return {DONE, version, generation or 0}
