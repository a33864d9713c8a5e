-- ARGV: the version that the record is based on (8 bytes), the record with its stamp, and how long it lives from now on
-- in milliseconds, or nothing if that stays; and in which epoch the login began that the record is based on, if it is to be looked at
-- whether that was revoked; and 1 if it is made on a server that is full as well, since others
-- end by it. Passing a record into a script costs the server as much as all that is done here.
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
if #ARGV[3] > 0 then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
else
  redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
end
return 1
