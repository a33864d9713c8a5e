-- What the scripts share that look at an epoch. Whatever is there that is no number as these write them was put there by somebody else, and
-- is none: of one that is not finite, or that a double does not hold, there is no next one.
local function epoch_of(key)
  local found = redis.pcall('GET', key)
  local number = type(found) == 'string' and #found <= 16 and string.find(found, '^%d+$') and tonumber(found)
  return number and number < 9007199254740991 and number or 0
end
