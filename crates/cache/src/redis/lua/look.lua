-- The check of a stamp; see record.rs.
local function check_of(version, created, expires, of)
  return math.fmod(2 * version - created + expires + of, 4294967291)
end

-- The 40 bytes before what the client has sealed.
local function stamp(version, created, expires)
  local check = check_of(version, created, expires, generation)
  return 'SHC\1' .. struct.pack('<I4I8I8I8I8', check, version, created, expires, generation)
end

-- When something ends that lives this long from now, in milliseconds.
local function expiry(millis)
  return (now - now % 1000) / 1000 + millis
end

-- Whether the tags of an entry have the generations that it was stored under. Their keys are in the group's slot.
local function tags_hold(count, length)
  local hashes = redis.call('GETRANGE', KEYS[1], 72, 71 + 8 * count)
  local tail = redis.call('GETRANGE', KEYS[1], 72 + 8 * count + length, -1)
  local sum = 0
  for i = 0, count - 1 do
    local hash = string.sub(hashes, 8 * i + 1, 8 * i + 8)
    local hex = string.gsub(hash, '.', function(byte) return string.format('%02x', string.byte(byte)) end)
    local of = struct.unpack('<I8', tail, 8 * i + 1)
    if redis.pcall('GET', KEYS[2] .. ':' .. hex) ~= string.format('%016.0f', of) then return false end
    sum = math.fmod(3 * sum + of, 4294967291)
  end
  return struct.unpack('<I4', tail, 8 * count + 1) == sum
end

-- Returns 'value', 'lease' or 'removed' for what lives at the key, else 'none'; then the version, also of what is dead, so
-- that versions rise; then when it was created, and who wrote it. What is no record, or damaged as far as can be seen
-- without its payload, is 'none'.
local function look()
  local head = redis.pcall('GETRANGE', KEYS[1], 0, 71)
  if type(head) ~= 'string' or #head < 72 or string.sub(head, 1, 4) ~= 'SHC\1' then return 'none', 0, 0, '' end
  local check, version, created, expires, of = struct.unpack('<I4I8I8I8I8', head, 5)
  if math.max(version, created, of) >= 3e15 or check ~= check_of(version, created, expires, of) then return 'none', 0, 0, '' end
  local writer = string.sub(head, 41, 48)
  local tags, flags, _, length = struct.unpack('<BI2I8I4', head, 54)
  local tail = tags > 0 and 8 * tags + 4 or 0
  if of ~= generation or redis.call('STRLEN', KEYS[1]) ~= 72 + 8 * tags + length + tail then
    return 'none', version, created, writer
  end
  local state = 'none'
  if flags == 8 then state = 'lease' end
  if flags == 4 then state = 'removed' end
  if flags == 0 and (tags == 0 or tags_hold(tags, length)) then state = 'value' end
  return state, version, created, writer
end

-- Whether a condition holds for what lives at the key.
local function holds(condition, expected, state, version)
  if condition == 'always' then return true end
  if condition == 'absent' then return state ~= 'value' end
  if condition == 'match' then return state == 'value' and version == expected end
  return state == 'lease' and version == expected
end

-- Whether something came about after a call began that is run again, because nobody knows what became of it: ARGV[4] is when
-- it began at the earliest, by this clock and in microseconds, and zero the first time.
local function is_since(time)
  return ARGV[4] ~= '0' and time > tonumber(ARGV[4])
end
