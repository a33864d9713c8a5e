-- ARGV[3], ARGV[4]: the condition and its version. ARGV[5]: milliseconds to live. ARGV[6]: the envelope.
local state, version, created = look()
if state == 'outdated' then return {OUTDATED, 0} end
if not holds(ARGV[3], tonumber(ARGV[4]), state, version) then
  return {CONFLICT, state == 'value' and version or 0}
end
-- A loaded value is as old as its lease: what it was read from may have changed since.
local stored = store(ARGV[6], version, tonumber(ARGV[5]), ARGV[3] == 'lease' and created)
end_neighbours()
return {DONE, stored}
