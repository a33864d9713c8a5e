-- ARGV: the hash of the holder's verifier. It must be the record's, or the previous one in its grace.
local head = redis.call('GETRANGE', KEYS[1], 0, 159)
if #head == 0 then
  return 0
end
local held = string.sub(head, 89, 120) == ARGV[1]
if not held and string.sub(head, 121, 152) == ARGV[1] then
  held = number(head, 25) + number(head, 153) > now()
end
if not held then
  return 2
end
redis.call('DEL', KEYS[1])
return 1
