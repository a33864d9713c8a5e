-- KEYS: how many sessions there are that nobody is logged in to: a hash of the second, since 1970, in which they have
-- expired at the latest, and their number. ARGV: pairs of such a second and what is added to its number. Answers the
-- pairs that are left, and the time.

-- Somebody else may have put anything there. Nothing else would ever take it away, and nothing would be counted.
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'hash' and kind ~= 'none' then
  redis.call('DEL', KEYS[1])
end
local function whole(text)
  local number = tonumber(text)
  return number and number == math.floor(number) and math.abs(number) < 1e11 and number
end
for at = 1, #ARGV - 1, 2 do
  if type(redis.pcall('HINCRBY', KEYS[1], ARGV[at], ARGV[at + 1])) == 'table' then
    redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1])
  end
end
local found, left, last = redis.call('HGETALL', KEYS[1]), {}, 0
for at = 1, #found, 2 do
  local second, number = whole(found[at]), whole(found[at + 1])
  if not second or not number or second * 1000000 <= now then
    redis.call('HDEL', KEYS[1], found[at])
  else
    left[#left + 1] = second
    left[#left + 1] = number
    last = math.max(last, second)
  end
end
if last > 0 then
  redis.call('EXPIREAT', KEYS[1], last)
end
return {left, now}
