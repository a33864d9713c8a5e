-- What the scripts share: the stamp of an envelope (see statehouse_core::Envelope). Before it the local `now` was set to
-- the server's time. Microseconds since 1970 fit a Lua number exactly until the year 2255.

local function number(bytes, at)
  return (struct.unpack('<I8', bytes, at))
end

-- The 32 bytes of a stamp and their Adler-32.
local function sealed(version, created, soft, hard)
  local stamp = struct.pack('<I8I8I8I8', version, created, soft, hard)
  local a, b = 1, 0
  for _, byte in ipairs({string.byte(stamp, 1, 32)}) do
    a = a + byte
    b = b + a
  end
  return stamp .. struct.pack('<I4', (b % 65521) * 65536 + a % 65521)
end
