-- What every script on an entry shares. The layout is that of statehouse_core::Envelope with one generation.
-- ARGV[1]: the cache's generation as the caller knows it.
-- ARGV[2]: '1' if that generation is certainly the newest: an entry of a higher one is then a leftover of a lost one.
local key, generation, certain = KEYS[1], tonumber(ARGV[1]), ARGV[2] == '1'
local OUTDATED, DONE, CONFLICT, HIT, HELD, ENDED = 0, 1, 2, 3, 4, 5

local function now()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end

-- RFC 1950 section 8; over 32 bytes no sum needs an earlier reduction.
local function adler32(bytes)
  local a, b = 1, 0
  for i = 1, #bytes do
    a = a + string.byte(bytes, i)
    b = b + a
  end
  return (b % 65521) * 65536 + a % 65521
end

-- The 36 bytes at offset 16: version, created, no soft expiry, hard expiry, and their check.
local function stamp(version, created, expires)
  local numbers = struct.pack('<I8I8I8I8', version, created, 0, expires)
  return numbers .. struct.pack('<I4', adler32(numbers))
end

-- Returns 'value' or 'lease' for what lives at the key, 'outdated' for what is of a later generation than the
-- caller's, else 'none'; then the version, also of what is dead, so that versions rise; then when it was created.
-- What is not an envelope, or damaged as far as can be seen without its payload, is 'none'.
local function look()
  local head = redis.pcall('GETRANGE', key, 0, 71)
  if type(head) ~= 'string' or #head < 72 or string.sub(head, 1, 3) ~= 'SH\1' then
    return 'none', 0, 0
  end
  local flags, count, length, version, created, _, _, check, _, tag, of =
    struct.unpack('<I2I2I4I8I8I8I8I4I4I8I8', head, 9)
  if check ~= adler32(string.sub(head, 17, 48)) or version > 9e15 then
    return 'none', 0, 0
  end
  if count ~= 1 or tag ~= 0 or redis.call('STRLEN', key) ~= 72 + length then
    return 'none', version, created
  end
  if of ~= generation then
    return (of > generation and not certain) and 'outdated' or 'none', version, created
  end
  return (flags == 0 and 'value') or (flags == 8 and 'lease') or 'none', version, created
end

-- Writes an envelope whose stamp is empty, and stamps it. begun: when the value's load began, if it was loaded.
local function store(envelope, previous, millis, begun)
  local time = now()
  local version = math.max(previous + 1, time)
  redis.call('SET', key, envelope, 'PX', millis)
  redis.call('SETRANGE', key, 16, stamp(version, begun or time, time + millis * 1000))
  return version
end

-- Ends the entries of the neighbouring schemas: what they hold is as old as what was just replaced or removed.
local function end_neighbours()
  for i = 2, #KEYS do
    redis.call('UNLINK', KEYS[i])
  end
end

-- Whether a condition holds for what lives at the key.
local function holds(condition, expected, state, version)
  if condition == 'always' then return true end
  if condition == 'absent' then return state ~= 'value' end
  if condition == 'match' then return state == 'value' and version == expected end
  return state == 'lease' and version == expected
end

