-- ARGV: the version that the record is based on (8 bytes), the record with its stamp, and how long it lives from now on
-- in milliseconds, or nothing if that stays; and in which epoch the login began that the record is based on, if it is to be looked at
-- whether that was revoked; and 1 if it is made on a server that is full as well, since others
-- end by it; and what a rotation is dated by: see dated.rs. Answers 1, and of a rotation its date. Passing a record into a script
-- costs the server as much as all that is done here.
if redis.call('GETRANGE', KEYS[1], 16, 23) ~= ARGV[1] then
  local found = redis.call('GET', KEYS[1])
  return #ARGV[4] > 0 and {found, last_epoch()} or found
end
if #ARGV[4] > 0 and tonumber(ARGV[4]) < last_epoch() then
  return false
end
if ARGV[5] == '1' then
  -- A first write that needs no room, and changes nothing: see revoke.lua.
  local left = redis.call('PTTL', KEYS[1])
  if left > 0 then redis.call('PEXPIRE', KEYS[1], left) end
end
local record, rotated = ARGV[2], nil
if #ARGV[6] > 0 then
  rotated = math.max(now - struct.unpack('<I8', record, 25), 0)
  local date, check, weight = struct.pack('<I8', rotated), struct.unpack('<I4', record, 53), ARGV[6]
  for at = 63, 0, -1 do
    local byte = math.floor(at / 8) + 1
    local differs = bit.bxor(string.byte(date, byte), string.byte(record, 160 + byte))
    check = bit.bxor(check, bit.band(bit.rshift(differs, at % 8), 1) * weight)
    weight = bit.bxor(bit.rshift(weight, 1), bit.band(weight, 1) * 0xedb88320) % 2^32
  end
  check = struct.pack('<I4', check % 2^32)
  record = string.sub(record, 1, 52) .. check .. string.sub(record, 57, 160) .. date .. string.sub(record, 169)
end
if #ARGV[3] > 0 then
  redis.call('SET', KEYS[1], record, 'PX', ARGV[3])
else
  redis.call('SET', KEYS[1], record, 'KEEPTTL')
end
return rotated and {1, rotated} or 1
