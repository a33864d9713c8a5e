-- KEYS: the index of the namespace, and what the names of records stand behind, whose keys are in this slot, too. ARGV: the
-- least and the greatest name, how many are looked at, how many bytes a page has, unless its first record has more, and how many
-- a reader takes at most: what is longer is as good as unreadable. Answers their names, what is stored of each, nothing at all for
-- another type, the time, and 1 if there may be more names.
local names = redis.pcall('ZRANGEBYLEX', KEYS[1], ARGV[1], ARGV[2], 'LIMIT', 0, ARGV[3])
if names.err then
  return names
end
local time = redis.call('TIME')
local found, left = {}, tonumber(ARGV[4])
for at = 1, #names do
  local record = redis.pcall('GET', KEYS[2] .. names[at])
  if type(record) == 'table' then
    if not string.find(record.err, 'WRONGTYPE', 1, true) then
      return record
    end
    -- One of another type is there all the same.
    record = ''
  elseif record and #record > tonumber(ARGV[5]) then
    record = ''
  end
  -- And what a reader counts for two elements, with their lengths.
  left = left - #names[at] - (record and #record or 0) - 160
  if left < 0 and at > 1 then
    break
  end
  found[at] = record
end
local more = (#found < #names or #names == tonumber(ARGV[3])) and 1 or 0
for at = #names, #found + 1, -1 do
  names[at] = nil
end
return {names, found, time[1] * 1000000 + time[2], more}
