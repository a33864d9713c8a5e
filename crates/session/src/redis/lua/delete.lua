-- ARGV: what a tombstone begins with, for how many milliseconds it stands; and, unless the application itself deletes, the
-- hash of the holder's verifier, which must be the record's, or the previous one in its grace; and a principal and an epoch, if
-- only a login of theirs is to end that began before it.
local head = redis.pcall('GETRANGE', KEYS[1], 0, 469)
if type(head) == 'table' and not string.find(head.err, 'WRONGTYPE', 1, true) then
  return head
end
if type(head) == 'table' then
  -- Somebody put a value of another type there: it is no session, and nothing else takes it away.
  return redis.call('DEL', KEYS[1])
end
if #head >= #ARGV[1] and string.sub(head, 1, #ARGV[1]) == ARGV[1] then
  return 0
end
if #head < 160 or not is_sealed(head) then
  -- Nothing, or what is no session, or a damaged one that nobody can load.
  return redis.call('DEL', KEYS[1])
end
if #ARGV[4] > 0 then
  local field = struct.pack('<I2I4', 1, #ARGV[4]) .. ARGV[4]
  if string.sub(head, 209, 208 + #field) ~= field or number(head, 193) >= tonumber(ARGV[5]) then
    return 2
  end
end
if #ARGV[3] > 0 then
  local held = string.sub(head, 89, 120) == ARGV[3]
  if not held and string.sub(head, 121, 152) == ARGV[3] then
    held = number(head, 25) + number(head, 153) > now
  end
  if not held then
    return 2
  end
end
local stored = redis.pcall('SET', KEYS[1], ARGV[1] .. struct.pack('<I8', now), 'PX', ARGV[2])
if not stored.err then
  return 1
end
-- A server that is full stores nothing and still deletes.
if string.find(stored.err, 'OOM', 1, true) then
  redis.call('DEL', KEYS[1])
  return 3
end
return stored
