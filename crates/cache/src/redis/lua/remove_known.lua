-- A removal on no condition, where nothing is or an entry without tags, is answered with the version of what was removed alone,
-- or zero.
if alone and ARGV[4] == '0' and ARGV[5] == 'always' and ARGV[7] == '0' then
  local head = redis.pcall('GETRANGE', KEYS[1], 0, 71)
  if head == '' then return 0 end
  if type(head) == 'string' and #head == 72 then
    local magic, check, version, created, ends, of, writer, _, kind, _, length = struct.unpack('<I4I4I8I8I8I8I8I4I4I8I4', head)
    if magic == 21186643 and of == tonumber(ARGV[2]) and math.max(version, created) < 3e15
      and check == math.fmod(2 * version - created + ends + of, 4294967291)
      and redis.call('STRLEN', KEYS[1]) == 72 + length and writer ~= struct.unpack('<I8', ARGV[8]) then
      -- Behind the codec: no tags, and the flags.
      kind = math.floor(kind / 256)
      if kind == 1024 then return 0 end
      if kind == 0 then
        local marked, expires = math.max(version + 1, now), (now - now % 1000) / 1000 + ARGV[9]
        check = math.fmod(2 * marked - now + expires + of, 4294967291)
        local mark = 'SHC\1' .. struct.pack('<I4I8I8I8I8', check, marked, now, expires, of) .. ARGV[8]
        -- A server that is full takes nothing new and still removes.
        if redis.pcall('SET', KEYS[1], mark, 'PX', ARGV[9]).err then redis.call('UNLINK', KEYS[1]) end
        return version
      end
    end
  end
end
