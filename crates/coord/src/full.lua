-- Does a write that takes no more room than what is there, or next to none. On a server that is full it is refused, too, where it is the
-- first of its script; then it is done behind one that needs no room and changes nothing: behind that Redis refuses a script no other.
local function in_place(command, key, ...)
  local said = redis.pcall(command, key, ...)
  if type(said) ~= 'table' or not said.err or not string.find(said.err, 'OOM', 1, true) then
    return said
  end
  local left = redis.pcall('PTTL', key)
  if type(left) ~= 'number' then
    return said
  end
  if left >= 0 then
    redis.pcall('PEXPIRE', key, math.max(left, 1))
  else
    redis.pcall('PERSIST', key)
  end
  return redis.pcall(command, key, ...)
end
