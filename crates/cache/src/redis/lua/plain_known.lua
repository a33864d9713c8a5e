-- The usual set on no condition is answered with its version alone. `replaced` is what was there before, if it is not usual.
local replaced
if alone then
  local expires = (now - now % 1000) / 1000 + ARGV[4]
  local check = math.fmod(now + expires + ARGV[2], 4294967291)
  local stamp = struct.pack('<I4I8I8I8I8', check, now, now, expires, ARGV[2])
  replaced = redis.pcall('SET', KEYS[1], 'SHC\1' .. stamp .. ARGV[5], 'PX', ARGV[4], 'GET')
  if not replaced or (type(replaced) == 'string' and (#replaced < 72 or struct.unpack('<I8', replaced, 9) < now)) then
    return now
  end
end
