-- ARGV[3]: the version that counts as absent, or 0. ARGV[4]: milliseconds to live. ARGV[5]: the envelope of a lease.
local state, version = look()
if state == 'outdated' then return {OUTDATED, 0, false} end
if state == 'value' and version ~= tonumber(ARGV[3]) then
  return {HIT, version, redis.call('GET', key)}
end
local millis = tonumber(ARGV[4])
if state == 'lease' then
  if redis.call('PTTL', key) < millis then redis.call('PEXPIRE', key, millis) end
  return {DONE, version, false}
end
return {DONE, store(ARGV[5], version, millis), false}
