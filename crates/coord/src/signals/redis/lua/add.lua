-- KEYS: a counter. ARGV: how much is added; for how many milliseconds it lives if it is begun by this, or 0. Answers 1, what it
-- is, and how many milliseconds it still lives, less than 0 if it stays; 0 if it would leave its range, which is that of whole
-- numbers in Lua; or 3 if what is there is no counter.
local found = redis.pcall('GET', KEYS[1])
if type(found) == 'table' and not string.find(found.err, 'WRONGTYPE', 1, true) then
  return found
end
if type(found) == 'table' or (found and not string.match(found, '^-?%d+$')) then
  return {3, 0, 0}
end
local after = (found and tonumber(found) or 0) + tonumber(ARGV[1])
if math.abs(after) > 9007199254740991 then
  return {0, 0, 0}
end
if found then
  local said = in_place('INCRBY', KEYS[1], ARGV[1])
  if type(said) == 'table' then
    return said
  end
  return {1, after, redis.call('PTTL', KEYS[1])}
end
local lives = tonumber(ARGV[2])
if lives > 0 then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', lives)
  return {1, after, lives}
end
redis.call('SET', KEYS[1], ARGV[1])
return {1, after, -1}
