-- What scripts on an entry share, behind what they do in the usual case; see known.lua.
local DONE, CONFLICT, HIT, HELD, ENDED, DOUBT = 1, 2, 3, 4, 5, 6
local generation, schemas = nil, ''
if type(text) == 'table' and not string.find(text.err, 'WRONGTYPE', 1, true) then return text end
if alone then
  generation = tonumber(ARGV[2])
elseif type(text) == 'string' and #text < 300 then
  -- Anything else is not what a script has written, and as good as lost.
  local digits, rest = string.match(text, '^(%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d)([ %d]*)$')
  if digits and string.sub(rest .. ' ', 1, 1) == ' ' and tonumber(digits) > 0 and tonumber(digits) < 3e15 then
    generation, schemas = tonumber(digits), rest
  end
end

-- Whether the record at a key has come about after a time, zero for none.
local function is_younger(key, before)
  local created = before > 0 and redis.pcall('GETRANGE', key, 16, 23)
  if type(created) ~= 'string' or #created < 8 then return false end
  created = struct.unpack('<I8', created)
  return created > before and created <= now
end

-- The key's records of all other schemas that have stored anything under this generation: what they hold is as old as what is
-- replaced or removed. Their keys are in the group's slot. KEYS[2] is the group's prefix and `generation`. With a time above
-- zero, in microseconds, without those that have come about since, as for a removal that comes late.
-- To be called before anything is written, because it may be refused: while a slot of a cluster moves, nobody can tell here
-- whether a record is absent or has moved already. Then the second is the answer, and the script is run again.
local function others(before)
  local found = {}
  if alone then return found end
  local prefix = string.sub(KEYS[2], 1, -11)
  local key = string.sub(KEYS[1], #prefix + #ARGV[3] + 1)
  for schema in string.gmatch(schemas, '%d+') do
    local other = prefix .. schema .. key
    -- With a key that is there: a server that takes a slot over refuses several of which some are missing, and not one.
    local there = schema == ARGV[3] and 1 or redis.pcall('EXISTS', KEYS[2], other)
    if type(there) == 'table' then
      if not string.find(there.err, 'non local key', 1, true) then return nil, there end
      return nil, {err = 'TRYAGAIN the slot is moving'}
    end
    if there > 1 and not is_younger(other, before) then found[#found + 1] = other end
  end
  return found
end

local function end_all(records)
  for _, record in ipairs(records) do redis.call('UNLINK', record) end
end
