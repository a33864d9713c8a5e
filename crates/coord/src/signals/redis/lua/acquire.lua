-- ARGV, further: how many may be held. Answers 1 and how many are in use; 0, that, and after how many microseconds one of them
-- is over; or 3 if what is there are no permits.
local gone = redis.pcall('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if type(gone) == 'table' then
  return string.find(gone.err, 'WRONGTYPE', 1, true) and {3, 0, 0} or gone
end
local used = redis.call('ZCARD', KEYS[1])
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  if used >= tonumber(ARGV[3]) then
    local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
    return {0, used, first[2] - now}
  end
  used = used + 1
end
hold()
return {1, used, 0}
