-- ARGV[5], ARGV[6]: the condition and its version. ARGV[7]: before when it must have come about, in microseconds, or 0.
-- ARGV[8]: a mark that is left where an entry was, so that the removal is known when it is repeated, and so that a set which
-- is repeated does not bring the entry back. ARGV[9]: how long the mark stays, in milliseconds.
local state, version, created, writer = look()
local lives = state == 'value' or state == 'lease'
if writer == string.sub(ARGV[8], 1, 8) then return {DONE, version, generation or 0} end
if lives and is_since(created) then return {DOUBT, 0, generation} end
if not holds(ARGV[5], tonumber(ARGV[6]), state, version) then
  -- A lease leaves no mark, and a mark does not live for ever.
  local doubt = ARGV[4] ~= '0' and (ARGV[5] == 'lease' or version == 0)
  return {doubt and DOUBT or CONFLICT, state == 'value' and version or 0, generation or 0}
end
local before = tonumber(ARGV[7])
local found, refused = {}, nil
if ARGV[5] ~= 'lease' then found, refused = others(before) end
if refused then return refused end
-- What came about later than now is of a server whose clock was ahead: nobody can tell how old it is, so it does not stay.
if before > 0 and lives and created > before and created <= now then
  end_all(found)
  return {CONFLICT, state == 'value' and version or 0, generation}
end
if state == 'value' then
  local mark = stamp(math.max(version + 1, now), now, expiry(ARGV[9])) .. ARGV[8]
  -- A server that is full takes nothing new and still removes.
  if redis.pcall('SET', KEYS[1], mark, 'PX', ARGV[9]).err then redis.call('UNLINK', KEYS[1]) end
elseif state ~= 'removed' then
  redis.call('UNLINK', KEYS[1])
end
end_all(found)
return {DONE, (state == 'value' or ARGV[5] == 'lease') and version or 0, generation or 0}
