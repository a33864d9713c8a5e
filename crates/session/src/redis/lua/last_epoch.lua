-- What the scripts share that write to a session of somebody's. KEYS[2] and KEYS[3]: the epochs of its principal and of everybody, where
-- they lie on this server. What began before the later one was revoked.
local function last_epoch()
  return math.max(epoch_of(KEYS[2]), epoch_of(KEYS[3]))
end
