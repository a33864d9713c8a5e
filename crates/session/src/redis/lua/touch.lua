-- Neither the record nor its version changes, only when it expires: after its idle timeout, at its absolute expiry at
-- the latest. PEXPIRE creates nothing.
local head = redis.call('GETRANGE', KEYS[1], 0, 183)
if #head < 184 then
  return 0
end
local time = now()
local soft = math.min(time + number(head, 177), number(head, 41))
return redis.call('PEXPIRE', KEYS[1], math.ceil((soft - time) / 1000))
