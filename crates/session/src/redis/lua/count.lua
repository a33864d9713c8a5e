-- KEYS: how many sessions there are that nobody is logged in to: a hash of the second, since 1970, in which they have
-- expired at the latest, and their number. ARGV: pairs of such a second and what is added to its number. Answers the
-- pairs that are left, and the time.
for at = 1, #ARGV - 1, 2 do
  redis.call('HINCRBY', KEYS[1], ARGV[at], ARGV[at + 1])
end
local found, left, last = redis.call('HGETALL', KEYS[1]), {}, 0
for at = 1, #found, 2 do
  local second = tonumber(found[at])
  if second * 1000000 <= now then
    redis.call('HDEL', KEYS[1], found[at])
  else
    left[#left + 1] = second
    left[#left + 1] = tonumber(found[at + 1])
    last = math.max(last, second)
  end
end
if last > 0 then
  redis.call('EXPIREAT', KEYS[1], last)
end
return {left, now}
