-- KEYS: the epoch, and what it may not be below, if that lies on this server. ARGV: the least that the epoch is then, and how far it is
-- ahead of the clock; or nothing, if it is to be just the least, unless it is higher. The last: for how long it is kept, in
-- milliseconds. Answers the epoch.
local function epoch_of(key)
  local found = key and redis.pcall('GET', key)
  return type(found) == 'string' and tonumber(found) or 0
end
local epoch = math.max(epoch_of(KEYS[1]), tonumber(ARGV[1]))
if #ARGV[2] > 0 then
  epoch = math.max(epoch_of(KEYS[1]) + 1, epoch_of(KEYS[2]) + 1, tonumber(ARGV[1]), now + ARGV[2])
end
redis.call('SET', KEYS[1], string.format('%.0f', epoch), 'PX', ARGV[3])
return epoch
