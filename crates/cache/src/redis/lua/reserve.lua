-- ARGV[3]: the version that counts as absent, or 0. ARGV[4]: milliseconds to live. ARGV[5]: the envelope of a lease.
-- ARGV[6]: what to do about a lease: 'share', 'alone' or 'renew'. ARGV[7]: which one to renew.
local state, version = look()
if state == 'outdated' then return {OUTDATED, 0, false} end
if state == 'value' and version ~= tonumber(ARGV[3]) then
  return {HIT, version, redis.call('GET', key)}
end
local millis, holding = tonumber(ARGV[4]), ARGV[6]
if holding == 'renew' and (state ~= 'lease' or version ~= tonumber(ARGV[7])) then return {ENDED, 0, false} end
if state == 'lease' then
  if holding == 'alone' then return {HELD, version, false} end
  if redis.call('PTTL', key) < millis then redis.call('PEXPIRE', key, millis) end
  return {DONE, version, false}
end
return {DONE, store(ARGV[5], version, millis), false}
