-- KEYS: permits. ARGV: the id. Answers whether it was there, or 3 if what is there are no permits.
local gone = redis.pcall('ZREM', KEYS[1], ARGV[1])
if type(gone) == 'table' and string.find(gone.err, 'WRONGTYPE', 1, true) then
  return 3
end
return gone
