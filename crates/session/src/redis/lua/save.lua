-- ARGV: the version that the record is based on (8 bytes), the record with its stamp, and how long it lives from now on
-- in milliseconds, or nothing if that stays. Passing a record into a script costs the server as much as all that is done
-- here.
if redis.call('GETRANGE', KEYS[1], 16, 23) ~= ARGV[1] then
  return redis.call('GET', KEYS[1])
end
if #ARGV[3] > 0 then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
else
  redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
end
return 1
