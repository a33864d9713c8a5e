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

-- Ends the key's records of all other schemas that have stored anything under this generation: what they hold is as old as
-- what was just replaced or removed. Their keys are in the group's slot. KEYS[2] is the group's prefix and `generation`.
local function end_others()
  if alone then return end
  local prefix = string.sub(KEYS[2], 1, -11)
  local key = string.sub(KEYS[1], #prefix + #ARGV[3] + 1)
  for schema in string.gmatch(schemas, '%d+') do
    if schema ~= ARGV[3] then redis.call('UNLINK', prefix .. schema .. key) end
  end
end
