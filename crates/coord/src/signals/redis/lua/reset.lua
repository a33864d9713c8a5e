-- KEYS: a counter.
return redis.call('DEL', KEYS[1])
