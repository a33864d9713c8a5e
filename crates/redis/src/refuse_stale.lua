-- What stands behind the lines that refuse what comes too late, in a script whose call is fenced; see fence.rs. The last key is
-- the lock's mark; the last argument but the deadline is the token, in 20 digits.
local mark, token = redis.pcall('GET', KEYS[#KEYS]), ARGV[#ARGV - 1]
-- As the holder finds it but for its first write.
if mark ~= token then
  if type(mark) ~= 'string' or not string.find(mark, '^%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d$') then
    -- Nothing that a script has stored: as good as lost.
    mark = '00000000000000000000'
  end
  -- A number of Lua has not as many digits.
  local high = tonumber(string.sub(mark, 1, 10)) - tonumber(string.sub(token, 1, 10))
  local low = tonumber(string.sub(mark, 11)) - tonumber(string.sub(token, 11))
  if high > 0 or (high == 0 and low > 0) then return redis.error_reply('FENCED the mark is higher') end
  if high < 0 or low < 0 then
    -- Behind a first write that needs no room, a server that is full refuses a script no other.
    if only_deletes then redis.call('DEL', KEYS[#KEYS]) end
    redis.call('SET', KEYS[#KEYS], token)
  end
end
