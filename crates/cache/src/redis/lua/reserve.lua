-- ARGV[4]: the version that counts as absent, or 0. ARGV[5]: milliseconds to live. ARGV[6]: what the client has sealed of a
-- lease. ARGV[7]: what to do about a lease: 'share', 'alone' or 'renew'. ARGV[8]: which one to renew.
local state, version, _, writer = look()
if state == 'value' and version ~= tonumber(ARGV[4]) then
  return {HIT, version, generation, redis.call('GET', KEYS[1])}
end
if ARGV[7] == 'renew' and (state ~= 'lease' or version ~= tonumber(ARGV[8])) then
  return {ENDED, 0, generation, false}
end
if state == 'lease' then
  -- Its own is no other's, if this is repeated.
  if ARGV[7] == 'alone' and writer ~= string.sub(ARGV[6], 1, 8) then return {HELD, version, generation, false} end
  if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[5]) then redis.call('PEXPIRE', KEYS[1], ARGV[5]) end
  return {DONE, version, generation, false}
end
local token = math.max(version + 1, now)
redis.call('SET', KEYS[1], stamp(token, now, expiry(ARGV[5])) .. ARGV[6], 'PX', ARGV[5])
return {DONE, token, generation, false}
