-- ARGV[3], ARGV[4]: the condition and its version. ARGV[5]: how old it must be at least, in microseconds, or 0.
local state, version, created = look()
if state == 'outdated' then return {OUTDATED, 0} end
if not holds(ARGV[3], tonumber(ARGV[4]), state, version) then
  return {CONFLICT, state == 'value' and version or 0}
end
local age = tonumber(ARGV[5])
if age > 0 and state ~= 'none' and created > now() - age then
  return {CONFLICT, state == 'value' and version or 0}
end
redis.call('UNLINK', key)
end_neighbours()
return {DONE, (state == 'value' or ARGV[3] == 'lease') and version or 0}
