-- What the scripts share that write a record. KEYS: the record, and the index of the namespace.
local found = redis.call('GET', KEYS[1])
local before, live = 0, false
if found then
  if #found < 80 or string.sub(found, 1, 3) ~= 'SH\1' then
    return {3, false, now}
  end
  before = number(found, 17)
  local expires, flags = number(found, 41), string.byte(found, 9)
  -- Flag 4: it was removed.
  live = math.floor(flags / 4) % 2 == 0 and (expires == 0 or now < expires)
end

local function is_own(record)
  return found and string.sub(found, 57, 72) == string.sub(record, 57, 72)
end
local function store(record, expires, ...)
  local version = math.max(before + 1, now)
  local stamp = sealed(version, now, 0, expires)
  redis.call('SET', KEYS[1], string.sub(record, 1, 16) .. stamp .. string.sub(record, 53), ...)
  return string.sub(stamp, 1, 8)
end
