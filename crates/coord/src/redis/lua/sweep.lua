-- KEYS: the index of the namespace, and records that were not there a moment ago. ARGV: their names in the index, in the same
-- order. Takes those out of the index that are still not there.
for at = 2, #KEYS do
  if redis.call('EXISTS', KEYS[at]) == 0 then
    redis.call('ZREM', KEYS[1], ARGV[at - 1])
  end
end
return now
