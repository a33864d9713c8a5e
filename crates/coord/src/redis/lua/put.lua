-- ARGV: the record, with an empty stamp; on which condition it is put: '', 'absent',
-- 'absent or ' and a value that counts as none, 'never' for where nothing may ever have been, or the 8 bytes of a version; its time to
-- live in microseconds, or 0; for how many milliseconds its version is remembered after that; its name in the index; the channel that
-- changes are told on. Answers 1 and its version, 4 and the version if what was in the index's place had to be replaced, 0 and what is
-- there, or 3 if that is no record, whose place only a put without a condition takes.
if live and is_own(ARGV[1]) then
  return {1, string.sub(found, 17, 24), now}
end
local on, lives = ARGV[2], tonumber(ARGV[3])
if is_foreign and on ~= '' then
  return {3, false, now}
end
local is_other = #on == 8 and not (live and string.sub(found, 17, 24) == on)
local is_passed_over = live and string.sub(on, 1, 10) == 'absent or ' and string.sub(found, 81) == string.sub(on, 11)
local is_absent = on == 'absent' or string.sub(on, 1, 10) == 'absent or '
if is_other or (is_absent and live and not is_passed_over) or (on == 'never' and found) then
  return {0, live and found, now}
end
if #on == 8 and #ARGV[1] <= #found then
  -- A renewal of a lock needs no room, and is made on a server that is full: behind a first write that needs none, and
  -- here changes nothing, Redis refuses a script no other.
  redis.pcall('ZREM', KEYS[2], '')
end
local stored = 1
local added = redis.pcall('ZADD', KEYS[2], 0, ARGV[5])
if type(added) == 'table' and string.find(added.err, 'WRONGTYPE', 1, true) then
  -- Somebody else's. Nothing else would ever take it away, and nothing could be put.
  redis.call('DEL', KEYS[2])
  redis.call('ZADD', KEYS[2], 0, ARGV[5])
  stored = 4
elseif type(added) == 'table' then
  return added
end
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
-- Records go by themselves when they have expired and are forgotten, and their names do not. So each put that adds a name,
-- and every eighth other, draws two names by lot, and takes those out whose record is gone: where every second one is, as many
-- go as come. Their keys are in this slot, too.
if added == 1 or now % 8 == 0 then
  local some = redis.pcall('ZRANDMEMBER', KEYS[2], 2)
  for at = 1, #some do
    if redis.pcall('EXISTS', string.sub(KEYS[1], 1, -1 - #ARGV[5]) .. some[at]) == 0 then
      redis.pcall('ZREM', KEYS[2], some[at])
    end
  end
end
return {stored, version, now}
