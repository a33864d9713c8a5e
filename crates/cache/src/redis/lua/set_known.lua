-- What was loaded, and whose lease is there, is answered with its version alone.
if alone and ARGV[4] == '0' and ARGV[5] == 'lease' then
  -- A lease is 72 bytes long.
  local lease = redis.pcall('GETRANGE', KEYS[1], 0, 72)
  if type(lease) == 'string' and #lease == 72 then
    local magic, check, version, created, ends, of, _, _, kind = struct.unpack('<I4I4I8I8I8I8I8I4I4', lease)
    -- 'SHC\1', and behind the codec no tags and the flag of a lease.
    if magic == 21186643 and math.floor(kind / 256) == 2048 and version == tonumber(ARGV[6]) and of == tonumber(ARGV[2])
      and math.max(version, created) < 3e15 and check == math.fmod(2 * version - created + ends + of, 4294967291) then
      -- It is as old as its lease; see set.lua.
      local stored, begun = math.max(version + 1, now), created
      local expires = (now - now % 1000) / 1000 + ARGV[7]
      check = math.fmod(2 * stored - begun + expires + of, 4294967291)
      local stamp = struct.pack('<I4I8I8I8I8', check, stored, begun, expires, of)
      redis.call('SET', KEYS[1], 'SHC\1' .. stamp .. ARGV[8], 'PX', ARGV[7])
      return stored
    end
  end
end
