-- ARGV: the record, its idle timeout, its absolute timeout. Answers the stamp that the record got, and the time.
if redis.call('EXISTS', KEYS[1]) == 1 then
  local found = redis.pcall('GET', KEYS[1])
  if type(found) == 'table' and not string.find(found.err, 'WRONGTYPE', 1, true) then
    return found
  end
  -- What a first try of this create has stored, whose answer was lost: the id of the create is in it. Only the stamp, and
  -- its checksum, were the server's.
  if type(found) == 'string' and string.sub(found, 53) == string.sub(ARGV[1], 53) then
    return {string.sub(found, 17, 52), now}
  end
  return false
end
local hard = now + tonumber(ARGV[3])
local soft = now + tonumber(ARGV[2])
local stamp = sealed(now, now, soft, hard)
local record = string.sub(ARGV[1], 1, 16) .. stamp .. string.sub(ARGV[1], 53)
redis.call('SET', KEYS[1], record, 'PX', math.ceil((math.min(soft, hard) - now) / 1000))
return {stamp, now}
