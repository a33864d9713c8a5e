-- KEYS: of a principal, the epoch, and the last number that was given to a session that stays. ARGV: such a number, and for how long
-- the epoch is kept, in milliseconds. Answers the epoch, once it is not before that number; else 0: another session has got a later
-- number meanwhile, and would stay, too, if whoever keeps it got no further.
local epoch, number = epoch_of(KEYS[1]), tonumber(ARGV[1])
if epoch >= number then
  return epoch
end
if epoch_of(KEYS[2]) > number then
  return 0
end
-- First what needs no room: see revoke.lua.
redis.call('DEL', KEYS[2])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return number
