-- A set on no condition, with as little work as it takes: what was there before is told by the SET itself.
-- ARGV[4]: milliseconds to live. ARGV[5]: what the client has sealed.
local found, refused = others(0)
if refused then return refused end
local expires = (now - now % 1000) / 1000 + ARGV[4]
local check = math.fmod(now + expires + generation, 4294967291)
local value = 'SHC\1' .. struct.pack('<I4I8I8I8I8', check, now, now, expires, generation) .. ARGV[5]
local version = now
local old = replaced or redis.pcall('SET', KEYS[1], value, 'PX', ARGV[4], 'GET')
if type(old) == 'table' then
  if not string.find(old.err, 'WRONGTYPE', 1, true) then return old end
  redis.call('SET', KEYS[1], value, 'PX', ARGV[4])
elseif old and #old >= 72 and struct.unpack('<I8', old, 9) >= now and string.sub(old, 1, 4) == 'SHC\1' then
  -- The clock was set back. Versions rise all the same.
  local was, before, created, ends, of = struct.unpack('<I4I8I8I8I8', old, 5)
  if before < 3e15 and was == math.fmod(2 * before - created + ends + of, 4294967291) then
    version = before + 1
    check = math.fmod(2 * version - now + expires + generation, 4294967291)
    value = 'SHC\1' .. struct.pack('<I4I8I8I8I8', check, version, now, expires, generation) .. ARGV[5]
    redis.call('SET', KEYS[1], value, 'PX', ARGV[4])
  end
end
end_all(found)
return {DONE, version, generation}
