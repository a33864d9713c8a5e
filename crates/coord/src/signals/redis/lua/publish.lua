-- KEYS: how many messages of the namespace were published. ARGV: its channel in Redis, the name of the channel, the message.
-- Answers 1, or 4 if what was there was no such number: nobody but this script would ever take it away, and the number begins anew, which whoever
-- listens takes for something missed. It is forgotten after a week without a message.
local number, answer = in_place('INCR', KEYS[1]), 1
if type(number) == 'table' then
  if not string.find(number.err, 'WRONGTYPE', 1, true) and not string.find(number.err, 'integer', 1, true) and
    not string.find(number.err, 'overflow', 1, true) then
    return number
  end
  number = 0
end
if number < 1 or number > 9007199254740991 then
  redis.call('DEL', KEYS[1])
  number, answer = redis.call('INCR', KEYS[1]), 4
end
redis.call('PEXPIRE', KEYS[1], 604800000)
redis.call('PUBLISH', ARGV[1], 'N\1' .. struct.pack('<I8I2', number, #ARGV[2]) .. ARGV[2] .. ARGV[3])
return answer
