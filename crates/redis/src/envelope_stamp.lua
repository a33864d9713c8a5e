-- What the scripts share: the stamp of an envelope (see statehouse_core::Envelope). Before it the local `now` was set to
-- the server's time. Microseconds since 1970 fit a Lua number exactly until the year 2255.

local function number(bytes, at)
  return (struct.unpack('<I8', bytes, at))
end

-- The Adler-32 of the 32 bytes of a stamp, without a loop, which takes five times as long.
local function check_of(stamp)
  local d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11, d12, d13, d14, d15,
    d16, d17, d18, d19, d20, d21, d22, d23, d24, d25, d26, d27, d28, d29, d30, d31
    = string.byte(stamp, 1, 32)
  local a = 1 + d0 + d1 + d2 + d3 + d4 + d5 + d6 + d7 + d8 + d9 + d10 + d11 + d12 + d13 + d14 + d15
    + d16 + d17 + d18 + d19 + d20 + d21 + d22 + d23 + d24 + d25 + d26 + d27 + d28 + d29 + d30 + d31
  local b = 32 + 32 * d0 + 31 * d1 + 30 * d2 + 29 * d3 + 28 * d4 + 27 * d5 + 26 * d6 + 25 * d7 + 24 * d8 + 23 * d9 + 22 * d10
    + 21 * d11 + 20 * d12 + 19 * d13 + 18 * d14 + 17 * d15 + 16 * d16 + 15 * d17 + 14 * d18 + 13 * d19 + 12 * d20 + 11 * d21
    + 10 * d22 + 9 * d23 + 8 * d24 + 7 * d25 + 6 * d26 + 5 * d27 + 4 * d28 + 3 * d29 + 2 * d30 + d31
  return struct.pack('<I4', (b % 65521) * 65536 + a)
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
