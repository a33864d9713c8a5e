-- ARGV: the record, its idle timeout, its absolute timeout. Answers the stamp that the record got, and the time.
if redis.call('EXISTS', KEYS[1]) == 1 then
  return false
end
local time = now()
local hard = time + tonumber(ARGV[3])
local soft = math.min(time + tonumber(ARGV[2]), hard)
local stamp = sealed(time, time, soft, hard)
local record = string.sub(ARGV[1], 1, 16) .. stamp .. string.sub(ARGV[1], 53)
redis.call('SET', KEYS[1], record, 'PX', math.ceil((soft - time) / 1000))
return {stamp, time}
