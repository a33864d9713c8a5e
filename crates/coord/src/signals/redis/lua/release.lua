-- KEYS: permits. ARGV: the id. Answers whether it was there, or 3 if what is there are no permits.
local gone = redis.pcall('ZREM', KEYS[1], ARGV[1])
return type(gone) == 'table' and 3 or gone
