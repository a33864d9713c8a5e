-- ARGV[5], ARGV[6]: the condition and its version. ARGV[7]: milliseconds to live. ARGV[8]: what the client has sealed,
-- which begins with the writer's id.
local state, version, created, writer = look()
if writer == string.sub(ARGV[8], 1, 8) then return {DONE, version, generation} end
-- Where nothing is, the first try may have been executed and undone: a lease that took the place of a removal's mark leaves
-- nothing, and neither does what has expired or was evicted.
if is_since(version) or (ARGV[4] ~= '0' and version == 0) then return {DOUBT, 0, generation} end
if not holds(ARGV[5], tonumber(ARGV[6]), state, version) then
  return {CONFLICT, state == 'value' and version or 0, generation}
end
-- What a load stores is no news to the other schemas; every other write is.
local found, refused = {}, nil
if ARGV[5] ~= 'lease' then found, refused = others(0) end
if refused then return refused end
-- A loaded value is as old as its lease: what it was read from may have changed since.
local stored, begun = math.max(version + 1, now), ARGV[5] == 'lease' and created or now
redis.call('SET', KEYS[1], stamp(stored, begun, expiry(ARGV[7])) .. ARGV[8], 'PX', ARGV[7])
end_all(found)
return {DONE, stored, generation}
