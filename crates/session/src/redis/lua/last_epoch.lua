-- What the scripts share that write to a session of somebody's. KEYS[2] and KEYS[3]: the epochs of its principal and of everybody, where
-- they lie on this server. What began before the later one was revoked.
local function last_epoch()
  local last = 0
  for at = 2, 3 do
    local epoch = redis.pcall('GET', KEYS[at])
    last = math.max(last, type(epoch) == 'string' and tonumber(epoch) or 0)
  end
  return last
end
