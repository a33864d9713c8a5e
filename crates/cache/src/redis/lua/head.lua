-- Begins every script on an entry, behind the lines that refuse what comes too late and set `now`.
-- KEYS[1]: the record. KEYS[2]: the generation of its group.
-- ARGV[1]: what KEYS[2] has if the generation is the one that the caller knows and only the caller's schema is in use.
-- ARGV[2]: that generation. ARGV[3]: the schema. ARGV[4] and further: of each script.
local DONE, CONFLICT, HIT, HELD, ENDED, DOUBT = 1, 2, 3, 4, 5, 6
local text, generation, schemas = redis.pcall('GET', KEYS[2]), nil, ''
if type(text) == 'table' and not string.find(text.err, 'WRONGTYPE', 1, true) then return text end
local alone = text == ARGV[1] and ARGV[2] ~= '0'
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
