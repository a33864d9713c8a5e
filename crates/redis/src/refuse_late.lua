local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if now - ARGV[#ARGV] > 0 then return redis.error_reply('LATE the deadline has passed') end
