-- ARGV: what a tombstone begins with, for how many milliseconds it stands; and, unless the application itself deletes, the
-- hash of the holder's verifier, which must be the record's, or the previous one in its grace; and a principal and an epoch, if
-- only a login of theirs is to end that began before it; and whose it is as far as is known, if it is to be looked at whether they were
-- revoked; and the session's key, if the last of the keys before a fence's is an index that it is to leave once it has ended; and 8
-- bytes that nobody else draws, which a tombstone ends in; and 1 if a first try of this may have made it, which is then known by them.
-- Answers how it went: 0 that there was none, 1 that it is deleted, 2 that it may not be, 3 that it is without a tombstone, 4 that there is
-- none, and that the first try may have deleted it without one; and, if somebody is logged in, who, and in which epoch the login began.
local function over(how, principal, epoch)
  if #ARGV[7] > 0 then
    redis.pcall('ZREM', KEYS[#ARGV[6] > 0 and 4 or 2], ARGV[7])
  end
  return {how, principal or '', epoch or 0}
end
local head = redis.pcall('GETRANGE', KEYS[1], 0, 469)
if type(head) == 'table' and not string.find(head.err, 'WRONGTYPE', 1, true) then
  return head
end
if type(head) == 'table' then
  -- Somebody put a value of another type there: it is no session, and nothing else takes it away.
  return over(redis.call('DEL', KEYS[1]))
end
if #head >= #ARGV[1] and string.sub(head, 1, #ARGV[1]) == ARGV[1] then
  if ARGV[9] ~= '1' or string.sub(head, #ARGV[1] + 9) ~= ARGV[8] then
    return over(0)
  end
  -- A write, so that whoever waits for replicas waits until they have the first one's, too.
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return over(1)
end
if #head == 0 and ARGV[9] == '1' and #ARGV[4] == 0 then
  return over(4)
end
if #head < 160 or not is_sealed(head) then
  -- Nothing, or what is no session, or a damaged one that nobody can load.
  return over(redis.call('DEL', KEYS[1]))
end
local principal, epoch = '', 0
-- The first field is the principal, if somebody is logged in.
if #head >= 214 and struct.unpack('<I2', head, 209) == 1 then
  principal, epoch = string.sub(head, 215, 214 + struct.unpack('<I4', head, 211)), number(head, 193)
end
if #ARGV[6] > 0 and principal == ARGV[6] and epoch < last_epoch() then
  -- It stays in the index, for whoever deletes what was revoked.
  return {0, '', 0}
end
if #ARGV[4] > 0 then
  if principal ~= ARGV[4] or epoch >= tonumber(ARGV[5]) then
    return {2, principal, epoch}
  end
end
if #ARGV[3] > 0 then
  local held = string.sub(head, 89, 120) == ARGV[3]
  if not held and string.sub(head, 121, 152) == ARGV[3] then
    held = number(head, 25) + number(head, 153) > now
  end
  if not held then
    return {2, principal, epoch}
  end
end
local stored = redis.pcall('SET', KEYS[1], ARGV[1] .. struct.pack('<I8', now) .. ARGV[8], 'PX', ARGV[2])
if not stored.err then
  return over(1, principal, epoch)
end
-- A server that is full stores nothing and still deletes.
if string.find(stored.err, 'OOM', 1, true) then
  redis.call('DEL', KEYS[1])
  return over(3, principal, epoch)
end
return stored
