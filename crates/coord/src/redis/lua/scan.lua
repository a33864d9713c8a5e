-- KEYS: the index of the namespace, and what the names of records stand behind, whose keys are in this slot, too. ARGV: the
-- least and the greatest name, and how many are looked at. Answers their names, what is stored of each, nothing at all for
-- another type, and the time.
local names = redis.pcall('ZRANGEBYLEX', KEYS[1], ARGV[1], ARGV[2], 'LIMIT', 0, ARGV[3])
if names.err then
  return names
end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if #names == 0 then
  return {names, names, now}
end
local keys = {}
for at = 1, #names do
  keys[at] = KEYS[2] .. names[at]
end
local found = redis.call('MGET', unpack(keys))
for at = 1, #keys do
  -- One of another type is there all the same.
  if not found[at] and redis.call('EXISTS', keys[at]) == 1 then
    found[at] = ''
  end
end
return {names, found, now}
