-- What the scripts share that give a permit. KEYS: the permits, a sorted set of ids by when they are over. ARGV: the id; for
-- how many microseconds it is held.
local lease = tonumber(ARGV[2])
local function hold()
  redis.call('ZADD', KEYS[1], now + lease, ARGV[1])
  local lives = math.ceil(lease / 1000) + 1
  if redis.call('PTTL', KEYS[1]) < lives then
    redis.call('PEXPIRE', KEYS[1], lives)
  end
end
