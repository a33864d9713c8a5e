-- What the scripts share that write a record. KEYS: the record, and the index of the namespace.
-- Whether it is a record, as far as can be seen without a checksum over its value.
local function is_record(bytes)
  if #bytes < 80 or string.sub(bytes, 1, 8) ~= 'SH\1\0\1\0\0\0' or not is_sealed(bytes) then
    return false
  end
  local flags, _, length = struct.unpack('<I2I2I4', bytes, 9)
  -- Flag 4: it was removed, and has no value.
  return #bytes == 56 + length and (flags == 0 or (flags == 4 and length == 24))
end

local found = redis.pcall('GET', KEYS[1])
if type(found) == 'table' and not string.find(found.err, 'WRONGTYPE', 1, true) then
  return found
end
local is_foreign = found and (type(found) == 'table' or not is_record(found))
if is_foreign then
  found = false
end
local before, live = 0, false
if found then
  before = number(found, 17)
  local expires = number(found, 41)
  live = string.byte(found, 9) == 0 and (expires == 0 or now < expires)
end

local function is_own(record)
  return found and string.sub(found, 57, 72) == string.sub(record, 57, 72)
end

-- Answers what the server says, and the version.
local function store(record, expires, ...)
  local version = math.max(before + 1, now)
  local stamp = sealed(version, now, 0, expires)
  local said = redis.pcall('SET', KEYS[1], string.sub(record, 1, 16) .. stamp .. string.sub(record, 53), ...)
  return said, string.sub(stamp, 1, 8)
end
