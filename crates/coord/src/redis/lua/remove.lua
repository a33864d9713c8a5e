-- ARGV: what is left of a removed record, with an empty stamp; the 8 bytes of the version that is removed; for how many
-- milliseconds what is left stays; its name in the index; the channel that changes are told on. Answers 1 if it was removed,
-- 2 if there is none, 0 and what is there if that is another, or 3 if that is no record.
if is_foreign then
  return {3, false, now}
end
if not live then
  -- What a first try has done, whose answer was lost.
  return {is_own(ARGV[1]) and 1 or 2, false, now}
end
if string.sub(found, 17, 24) ~= ARGV[2] then
  return {0, found, now}
end
local said = store(ARGV[1], 0, 'PX', ARGV[3])
-- A server that is full stores nothing and still deletes.
if said.err and string.find(said.err, 'OOM', 1, true) then
  redis.call('UNLINK', KEYS[1])
elseif said.err then
  return said
end
-- It is done, whatever is in the index's place.
redis.pcall('ZREM', KEYS[2], ARGV[4])
redis.pcall('PUBLISH', ARGV[5], ARGV[4])
return {1, false, now}
