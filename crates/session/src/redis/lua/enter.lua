-- KEYS: of a principal, the sessions, the logins under way, the epoch. ARGV: the key of the session that is logged in to, until when
-- that counts as under way, in which epoch it began, how many sessions there may be, and 1 if the oldest is to make room.
-- Answers 0 if it began before the epoch; 1 and the sessions that made room; 2 and those that are in the way.
local epoch = redis.pcall('GET', KEYS[3])
if type(epoch) == 'string' and tonumber(ARGV[3]) < (tonumber(epoch) or 0) then
  return {0, {}}
end
local function count(key)
  return redis.call('ZCARD', key) - (redis.call('ZSCORE', key, ARGV[1]) and 1 or 0)
end
for at = 1, 2 do
  local kind = redis.call('TYPE', KEYS[at]).ok
  if kind ~= 'zset' and kind ~= 'none' then
    -- Somebody else may have put anything there, and nothing else would take it away.
    redis.call('DEL', KEYS[at])
  end
  redis.call('ZREMRANGEBYSCORE', KEYS[at], '-inf', now)
end
local excess = count(KEYS[1]) + count(KEYS[2]) + 1 - tonumber(ARGV[4])
local evicted = {}
if excess > 0 then
  local sessions = redis.call('ZRANGE', KEYS[1], 0, -1)
  -- What is under way has no session yet that could end.
  if ARGV[5] ~= '1' or count(KEYS[1]) < excess then
    return {2, sessions}
  end
  for _, session in ipairs(sessions) do
    if #evicted < excess and session ~= ARGV[1] then
      evicted[#evicted + 1] = session
      redis.call('ZREM', KEYS[1], session)
    end
  end
end
redis.call('ZADD', KEYS[2], ARGV[2] + now, ARGV[1])
redis.call('PEXPIRE', KEYS[2], math.ceil(ARGV[2] / 1000))
return {1, evicted}
