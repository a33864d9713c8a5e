-- KEYS: the index of the namespace. Takes away what is none. Answers 1 if it was none.
local kind = redis.call('TYPE', KEYS[1]).ok
if kind == 'zset' or kind == 'none' then
  return 0
end
redis.call('DEL', KEYS[1])
return 1
