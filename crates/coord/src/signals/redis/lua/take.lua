-- KEYS: a limit, which is a bucket that leaks. ARGV: three doubles, every how many microseconds one leaks, how many it holds, and
-- how many are taken. Answers how much is in it then, in parts of 2^-32; the same with a minus if nothing was taken; or 0 if what
-- is there is no limit. One number, three commands and no text: each of them costs as much as all of the arithmetic.
local every, burst, count = struct.unpack('<ddd', ARGV[1])
local found = redis.pcall('GET', KEYS[1])
local level, before, at, ends = count, 0, 0, 0
if found then
  if type(found) ~= 'string' then
    return string.find(found.err, 'WRONGTYPE', 1, true) and 0 or found
  end
  local kind
  if #found == 26 then
    kind, before, at, ends = struct.unpack('<I2ddd', found)
  end
  -- 'G' and 2.
  if kind ~= 583 or not (before >= 0 and at >= 0) then
    return 0
  end
  if now > at then
    before = before - (now - at) / every
  end
  if before > 0 then
    if before > burst then
      before = burst
    end
    level = before + count
    -- What is less than a millionth is of rounding, not of anybody who came too early.
    if level > burst + 1e-6 then
      -- The clock of a server that is now the master may be behind.
      if at > now then
        local said = in_place('SETRANGE', KEYS[1], '0', struct.pack('<I2ddd', 583, before, now, ends))
        if type(said) == 'table' then
          return said
        end
      end
      return -before * 4294967296
    end
  end
end
local empty, said = now + level * every
if empty <= ends then
  said = in_place('SETRANGE', KEYS[1], '2', struct.pack('<dd', level, now))
else
  -- For longer than it needs, so that it need not be told again with each take. A limit that is new needs room.
  ends = 2 * empty - now + 1000000
  local set, lives = found and in_place or redis.pcall, math.ceil((ends - now) / 1000) + 1
  said = set('SET', KEYS[1], struct.pack('<I2ddd', 583, level, now, ends), 'PX', lives)
end
if type(said) == 'table' and said.err then
  return said
end
return level * 4294967296
