-- ARGV: the record, its idle timeout, its absolute timeout.
if redis.call('EXISTS', KEYS[1]) == 1 then
  return false
end
local time = now()
local hard = time + tonumber(ARGV[3])
local soft = math.min(time + tonumber(ARGV[2]), hard)
return store(ARGV[1], sealed(time, time, soft, hard), soft, time)
