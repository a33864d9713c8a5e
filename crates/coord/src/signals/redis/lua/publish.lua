-- KEYS: how many messages of the namespace were published. ARGV: its channel in Redis, the name of the channel, the message.
-- Answers 1, or 3 if what is there is no number. It is forgotten after a week without a message.
local number = in_place('INCR', KEYS[1])
if type(number) == 'table' then
  local is_other = string.find(number.err, 'WRONGTYPE', 1, true) or string.find(number.err, 'integer', 1, true)
  return is_other and 3 or number
end
redis.call('PEXPIRE', KEYS[1], 604800000)
redis.call('PUBLISH', ARGV[1], 'N\1' .. struct.pack('<I8I2', number, #ARGV[2]) .. ARGV[2] .. ARGV[3])
return 1
