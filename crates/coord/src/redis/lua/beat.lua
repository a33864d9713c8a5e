-- KEYS: a record, and who beats in its group: a sorted set of names by when each is over, in microseconds, and of an empty name,
-- before all others, whose score is the number of the last change, negative. ARGV: the record's name; the 8 bytes of its version;
-- 'again', 'anew' or 'last'; for how many microseconds the beat counts; for how many milliseconds the set stays. Answers 1 if its
-- beat before counted, 1 if this one does, 1 if something else was in the set's place, how many beat, the number of the last change, and after
-- how many microseconds the first of the others is over, or -1.
local name, replaced = ARGV[1], 0
local first = redis.pcall('ZRANGE', KEYS[2], 0, 2, 'WITHSCORES')
if first.err then
  if not string.find(first.err, 'WRONGTYPE', 1, true) then
    return first
  end
  redis.call('DEL', KEYS[2])
  first, replaced = {}, 1
end
-- Where there is no number nobody knows what has changed.
local last, rank = 0, 0
if first[1] == '' then
  last, rank = -first[2], 1
end
local changed = last == 0
local over = first[2 * rank + 2]
if over and tonumber(over) <= now then
  -- A hundred at a time, so that nothing waits for long.
  local count = math.min(redis.call('ZCOUNT', KEYS[2], '-inf', now) - rank, 100)
  redis.call('ZREMRANGEBYRANK', KEYS[2], rank, rank + count - 1)
  -- Whoever beats here is over, too, if it was.
  local own = redis.call('ZSCORE', KEYS[2], name)
  if own and tonumber(own) <= now then
    redis.call('ZREM', KEYS[2], name)
  end
  changed = true
end
local was_there, is_there, said = 0, 0, 0
local head = redis.pcall('GETRANGE', KEYS[1], 0, 47)
if type(head) == 'string' and #head == 48 and string.byte(head, 9) == 0 and string.sub(head, 17, 24) == ARGV[2] then
  local expires = struct.unpack('<I8', head, 41)
  if expires == 0 or now < expires then
    if ARGV[3] == 'again' then
      said = redis.pcall('ZADD', KEYS[2], 'XX', 'CH', now + ARGV[4], name)
      was_there, is_there = said, said
    elseif ARGV[3] == 'anew' then
      said = redis.pcall('ZADD', KEYS[2], now + ARGV[4], name)
      was_there, is_there, changed = said == 0 and 1 or 0, 1, true
    else
      was_there = redis.call('ZREM', KEYS[2], name)
      changed = changed or was_there == 1
    end
  end
end
if changed and type(said) == 'number' then
  last = math.max(last + 1, now)
  said = redis.pcall('ZADD', KEYS[2], -last, '')
  first = redis.call('ZRANGE', KEYS[2], 0, 2, 'WITHSCORES')
end
-- A server that is full.
if type(said) ~= 'number' then
  return said
end
if changed or now % 8 == 0 then
  redis.call('PEXPIRE', KEYS[2], ARGV[5])
end
-- Behind that of the changes.
local ends = first[3] == name and first[6] or first[3] ~= name and first[4]
return {was_there, is_there, replaced, redis.call('ZCOUNT', KEYS[2], now + 1, '+inf'), last, ends and ends - now or -1}
