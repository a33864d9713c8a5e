-- ARGV[3]: milliseconds to live.
local state, version, created = look()
if state == 'outdated' then return {OUTDATED, 0} end
if state ~= 'value' then return {CONFLICT, 0} end
local millis = tonumber(ARGV[3])
redis.call('SETRANGE', key, 16, stamp(version, created, now() + millis * 1000))
redis.call('PEXPIRE', key, millis)
return {DONE, version}
