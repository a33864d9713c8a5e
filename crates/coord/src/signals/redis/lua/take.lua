-- KEYS: a limit, which is a bucket that leaks. ARGV: every how many microseconds one leaks; how many it holds; how many are
-- taken. Answers 1 if they were, else 0; how many may be taken now; after how many microseconds so many may be taken, and after
-- how many all; or 3 if what is there is no limit.
local every, burst, count = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local found = redis.pcall('GET', KEYS[1])
if type(found) == 'table' and not string.find(found.err, 'WRONGTYPE', 1, true) then
  return found
end
local level, at = 0, now
if found then
  if type(found) ~= 'string' or #found ~= 18 or string.sub(found, 1, 2) ~= 'G\1' then
    return {3, 0, 0, 0}
  end
  level, at = struct.unpack('<dd', found, 3)
  if not (level >= 0 and at >= 0) then
    return {3, 0, 0, 0}
  end
  level = math.min(math.max(level - math.max(now - at, 0) / every, 0), burst)
end
-- What is less than a millionth is of rounding, not of anybody who came too early.
local over = level + count - burst
local taken = over <= 1e-6
if taken then
  level = level + count
end
-- The clock of a server that is now the master may be behind.
if taken or at > now then
  redis.call('SET', KEYS[1], 'G\1' .. struct.pack('<dd', level, now), 'PX', math.ceil(level * every / 1000) + 1)
end
local remaining = math.max(math.floor(burst - level + 1e-6), 0)
return {taken and 1 or 0, remaining, taken and 0 or math.ceil(over * every), math.ceil(level * every)}
