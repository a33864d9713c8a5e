-- What a script does besides that logs somebody in where all of theirs lies on this server. KEYS[4], [5] and [6]: of the principal, the
-- sessions, the logins under way, the epoch. KEYS[3]: the epoch of everybody. ARGV, the last but the deadline: the key of the session, in
-- which epoch the login began, and how many sessions there may be, if there is a limit. Puts the session, which ends at the latest at
-- `ends`, into the index, unless something is in the way that is not settled in one step: a revocation, as many sessions as there may be, or what
-- somebody else has put there. What it says no to changes nothing, and what it writes first needs room, so that a server that is full refuses it.
local function enters(ends)
  local sessions, entering, key = KEYS[4], KEYS[5], ARGV[#ARGV - 3]
  for _, at in ipairs({KEYS[6], KEYS[3]}) do
    if tonumber(ARGV[#ARGV - 2]) < epoch_of(at) then
      return false
    end
  end
  for _, at in ipairs({sessions, entering}) do
    local kind = redis.call('TYPE', at).ok
    if kind ~= 'zset' and kind ~= 'none' then
      return false
    end
  end
  local function is_session(other)
    local score = redis.call('ZSCORE', sessions, other)
    return score and tonumber(score) > now
  end
  if #ARGV[#ARGV - 1] > 0 then
    local live = '(' .. string.format('%.0f', now)
    local counted = redis.call('ZCOUNT', sessions, live, '+inf')
    if is_session(key) then
      counted = counted - 1
    end
    for _, other in ipairs(redis.call('ZRANGEBYSCORE', entering, live, '+inf')) do
      counted = counted + ((other == key or is_session(other)) and 0 or 1)
    end
    if counted + 1 > tonumber(ARGV[#ARGV - 1]) then
      return false
    end
  end
  local left = math.ceil((ends - now) / 1000)
  if left <= 0 then
    return false
  end
  redis.call('ZADD', sessions, string.format('%.0f', ends), key)
  if redis.call('PTTL', sessions) < left then
    redis.call('PEXPIRE', sessions, left)
  end
  redis.call('ZREM', entering, key)
  redis.call('ZREMRANGEBYSCORE', sessions, '-inf', string.format('%.0f', now))
  return true
end
