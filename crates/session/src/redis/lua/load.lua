-- One script and not GET and PTTL: the time is the server's, and all three belong together.
local record = redis.call('GET', KEYS[1])
if not record then
  return false
end
return {0, record, redis.call('PTTL', KEYS[1]), now()}
