-- Begins the next generation of one group. It names no schema: nothing lives under it yet.
local text = redis.pcall('GET', KEYS[1])
if type(text) == 'table' and not string.find(text.err, 'WRONGTYPE', 1, true) then return text end
local digits, rest = string.match(type(text) == 'string' and text or '', '^(%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d)([ %d]*)$')
local current = digits and string.sub(rest .. ' ', 1, 1) == ' ' and tonumber(digits) or 0
local following = math.max(current + 1, now)
-- What is too large to calculate with is not what a script has written.
if following >= 3e15 then following = now end
local stored = redis.pcall('SET', KEYS[1], string.format('%016.0f', following))
if stored.err then
  -- A server that is full takes nothing new and still removes. Without a generation nothing lives either.
  if not string.find(stored.err, 'OOM', 1, true) then return stored end
  redis.call('DEL', KEYS[1])
  return 0
end
return following
