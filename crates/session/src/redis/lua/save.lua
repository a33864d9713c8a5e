-- ARGV: the record, the version that it is based on (8 bytes), its idle timeout.
local head = redis.call('GETRANGE', KEYS[1], 0, 51)
if #head == 0 then
  return false
end
local time = now()
if string.sub(head, 17, 24) ~= ARGV[2] then
  return {0, redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1]), time}
end
local hard = number(head, 41)
local soft = math.min(time + tonumber(ARGV[3]), hard)
local version = math.max(time, number(head, 17) + 1)
return store(ARGV[1], sealed(version, number(head, 25), soft, hard), soft, time)
