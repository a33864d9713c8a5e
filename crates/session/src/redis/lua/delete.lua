-- ARGV: the hash of the holder's verifier, which must be the record's, or the previous one in its grace; what takes the
-- record's place; and for how many milliseconds.
local head = redis.call('GETRANGE', KEYS[1], 0, 159)
if #head < 160 then
  return 0
end
local held = string.sub(head, 89, 120) == ARGV[1]
if not held and string.sub(head, 121, 152) == ARGV[1] then
  held = number(head, 25) + number(head, 153) > now()
end
if not held then
  return 2
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
