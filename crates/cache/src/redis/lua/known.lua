-- Begins every script on an entry, behind the lines that refuse what comes too late and set `now`. What the script does
-- in the usual case follows, and behind that head.lua: whatever a script does not reach costs the server nothing.
-- KEYS[1]: the record. KEYS[2]: the generation of its group.
-- ARGV[1]: what KEYS[2] has if the generation is the one that the caller knows and only the caller's schema is in use.
-- ARGV[2]: that generation. ARGV[3]: the schema. ARGV[4] and further: of each script.
local text = redis.pcall('GET', KEYS[2])
local alone = text == ARGV[1] and ARGV[2] ~= '0'
