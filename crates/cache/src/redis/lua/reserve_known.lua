-- Where nothing is, a lease is answered with its version alone.
if alone and ARGV[7] ~= 'renew' and redis.pcall('STRLEN', KEYS[1]) == 0 then
  local expires = (now - now % 1000) / 1000 + ARGV[5]
  local check = math.fmod(now + expires + ARGV[2], 4294967291)
  local stamp = struct.pack('<I4I8I8I8I8', check, now, now, expires, ARGV[2])
  redis.call('SET', KEYS[1], 'SHC\1' .. stamp .. ARGV[6], 'PX', ARGV[5])
  return now
end
