-- ARGV: the record, with an empty stamp; on which condition it is put: '', 'absent',
-- 'never' for where nothing may ever have been, or the 8 bytes of a version; its time to live in microseconds, or 0; for how many milliseconds its version is remembered after that; its name in the index; the
-- channel that changes are told on. Answers 1 and its version, 0 and what is there, or 3 if that is no record, whose
-- place only a put without a condition takes.
if live and is_own(ARGV[1]) then
  return {1, string.sub(found, 17, 24), now}
end
local on, lives = ARGV[2], tonumber(ARGV[3])
if is_foreign and on ~= '' then
  return {3, false, now}
end
local is_other = #on == 8 and not (live and string.sub(found, 17, 24) == on)
if is_other or (on == 'absent' and live) or (on == 'never' and found) then
  return {0, live and found, now}
end
redis.call('ZADD', KEYS[2], 0, ARGV[5])
local said, version
if lives > 0 then
  said, version = store(ARGV[1], now + lives, 'PX', math.ceil(lives / 1000) + ARGV[4])
else
  said, version = store(ARGV[1], 0)
end
if said.err then
  return said
end
-- Nobody has to hear of it, and this user may not be allowed to tell.
redis.pcall('PUBLISH', ARGV[6], ARGV[5])
return {1, version, now}
