-- KEYS: of a principal, the sessions, the logins under way, the epoch. ARGV: the key of a session, when it ends at the
-- latest, and how many there may be, if the oldest make room for it. Puts it among the sessions, whose key lives as long as any
-- of them. Answers the epoch, and those that are to end for it: they stay in the index until they have.
for at = 1, 2 do
  local kind = redis.call('TYPE', KEYS[at]).ok
  if kind ~= 'zset' and kind ~= 'none' then
    redis.call('DEL', KEYS[at])
  end
end
local left = math.ceil((ARGV[2] - now) / 1000)
if left > 0 then
  redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
  if redis.call('PTTL', KEYS[1]) < left then
    redis.call('PEXPIRE', KEYS[1], left)
  end
end
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local oldest, excess = {}, #ARGV[3] > 0 and redis.call('ZCARD', KEYS[1]) - tonumber(ARGV[3]) or 0
for _, session in ipairs(excess > 0 and redis.call('ZRANGE', KEYS[1], 0, excess) or {}) do
  if #oldest < excess and session ~= ARGV[1] then
    oldest[#oldest + 1] = session
  end
end
return {epoch_of(KEYS[3]), oldest}
