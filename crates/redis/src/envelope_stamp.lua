-- What the scripts share: the stamp of an envelope (see statehouse_core::Envelope). Before it the local `now` was set to
-- the server's time. Microseconds since 1970 fit a Lua number exactly until the year 2255.

local function number(bytes, at)
  return (struct.unpack('<I8', bytes, at))
end

-- The Adler-32 of the 32 bytes of a stamp.
local function check_of(stamp)
  local a, b = 1, 0
  for _, byte in ipairs({string.byte(stamp, 1, 32)}) do
    a = a + byte
    b = b + a
  end
  return struct.pack('<I4', (b % 65521) * 65536 + a % 65521)
end

-- The 32 bytes of a stamp and their Adler-32.
local function sealed(version, created, soft, hard)
  local stamp = struct.pack('<I8I8I8I8', version, created, soft, hard)
  return stamp .. check_of(stamp)
end

-- Whether an envelope begins with these bytes, and its stamp is as it was sealed: what it says may be believed, and sealed anew.
local function is_sealed(head)
  return #head >= 52 and string.sub(head, 1, 3) == 'SH\1' and check_of(string.sub(head, 17, 48)) == string.sub(head, 49, 52)
end
