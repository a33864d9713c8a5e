-- KEYS: of a principal, the sessions, the logins under way, the epoch. ARGV: the key of the session that is logged in to, until when
-- that counts as under way, in which epoch it began, how many sessions there may be, 1 if the oldest will make room, and
-- one after the other the keys of sessions that will, whichever they are.
-- Answers 0 if it began before the epoch; 1 if it may go on; 2, and the sessions that are in the way; and 1 at the end if there is no
-- room unless others make it.
if tonumber(ARGV[3]) < epoch_of(KEYS[3]) then
  return {0, {}, 0}
end
for at = 1, 2 do
  local kind = redis.call('TYPE', KEYS[at]).ok
  if kind ~= 'zset' and kind ~= 'none' then
    -- Somebody else may have put anything there, and nothing else would take it away.
    redis.call('DEL', KEYS[at])
  end
  redis.call('ZREMRANGEBYSCORE', KEYS[at], '-inf', now)
end
local function is_session(key)
  return redis.call('ZSCORE', KEYS[1], key)
end
-- Nothing ends for a login that may come to nothing. What is under way has no session yet that could, unless it is one already.
local counted = 0
for _, entering in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
  counted = counted + ((entering == ARGV[1] or is_session(entering)) and 0 or 1)
end
local all = counted + redis.call('ZCARD', KEYS[1]) - (is_session(ARGV[1]) and 1 or 0)
if ARGV[5] ~= '1' then
  counted = all
  for at = 1, #ARGV[6], #ARGV[1] do
    counted = counted - (is_session(string.sub(ARGV[6], at, at + #ARGV[1] - 1)) and 1 or 0)
  end
end
if counted + 1 > tonumber(ARGV[4]) then
  return {2, redis.call('ZRANGE', KEYS[1], 0, -1), 1}
end
redis.call('ZADD', KEYS[2], ARGV[2] + now, ARGV[1])
redis.call('PEXPIRE', KEYS[2], math.ceil(ARGV[2] / 1000))
return {1, {}, (all + 1 > tonumber(ARGV[4])) and 1 or 0}
