-- ARGV[3], ARGV[4]: the condition and its version.
local state, version = look()
if state == 'outdated' then return {OUTDATED, 0} end
if not holds(ARGV[3], tonumber(ARGV[4]), state, version) then
  return {CONFLICT, state == 'value' and version or 0}
end
redis.call('UNLINK', key)
end_neighbours()
return {DONE, (state == 'value' or ARGV[3] == 'lease') and version or 0}
