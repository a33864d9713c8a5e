-- KEYS: a record, and who beats in its group: a sorted set of names by when each is over, in microseconds, and of an empty name,
-- before all others, whose score is the number of the last change, negative. ARGV: the record's name; the 8 bytes of its version;
-- 'again', 'anew' or 'last'; for how many microseconds the beat counts; for how many milliseconds the set stays. Answers 1 if its
-- beat before counted, and 2 more if this one does, and 4 more if something else was in the set's place; the number of the last
-- change; and after how many microseconds the first was over before this beat, or -1. A server that sleeps between two beats takes
-- as long for each command as for the rest of this, so that one that goes on asks for as little as it can.
local first, said = redis.pcall('ZRANGE', KEYS[2], 0, 1, 'WITHSCORES'), 0
if first.err then
  if not string.find(first.err, 'WRONGTYPE', 1, true) then
    return first
  end
  redis.call('DEL', KEYS[2])
  first, said = {}, 4
end
-- Where there is no number nobody knows what has changed.
local last, rank = 0, 0
if first[1] == '' then
  last, rank = -first[2], 1
end
local changed, over = last == 0, first[2 * rank + 2]
if over and tonumber(over) <= now then
  -- A hundred at a time, so that nothing waits for long.
  local count = math.min(redis.call('ZCOUNT', KEYS[2], '-inf', now) - rank, 100)
  redis.call('ZREMRANGEBYRANK', KEYS[2], rank, rank + count - 1)
  -- Whoever beats here is over, too, if it was.
  local own = redis.call('ZSCORE', KEYS[2], ARGV[1])
  if own and tonumber(own) <= now then
    redis.call('ZREM', KEYS[2], ARGV[1])
  end
  changed, over = true, redis.call('ZRANGE', KEYS[2], rank, rank, 'WITHSCORES')[2]
end
local stamp, added = redis.pcall('GETRANGE', KEYS[1], 16, 47), 0
-- Who may not look is told so; of what is no string nothing counts.
if type(stamp) == 'table' and not string.find(stamp.err, 'WRONGTYPE', 1, true) then
  return stamp
end
if type(stamp) == 'string' and string.sub(stamp, 1, 8) == ARGV[2] then
  local expires = struct.unpack('<I8', stamp, 25)
  if expires > 0 and expires <= now then
    added = 0
  elseif ARGV[3] == 'again' then
    added = in_place('ZADD', KEYS[2], 'XX', 'CH', now + ARGV[4], ARGV[1])
    said = added == 1 and said + 3 or said
  elseif ARGV[3] == 'anew' then
    added = in_place('ZADD', KEYS[2], now + ARGV[4], ARGV[1])
    said, changed = said + (added == 0 and 3 or 2), true
  elseif redis.call('ZREM', KEYS[2], ARGV[1]) == 1 then
    said, changed = said + 1, true
  end
end
if changed and type(added) == 'number' then
  last = math.max(last + 1, now)
  added = in_place('ZADD', KEYS[2], -last, '')
end
-- A user who may not, or a server that is no master.
if type(added) ~= 'number' then
  return added
end
if changed or now % 8 == 0 or tonumber(ARGV[4]) > 3600000000 then
  redis.call('PEXPIRE', KEYS[2], math.max(ARGV[5], math.ceil(ARGV[4] / 500)))
end
return {said, last, over and over - now or -1}
