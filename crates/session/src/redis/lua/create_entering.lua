-- Before create.lua: of a login that is not settled in one step nothing is created. What is there already may be of an earlier try, and
-- that may have lost its place since.
if redis.call('EXISTS', KEYS[1]) == 1 then
  if not redis.pcall('ZSCORE', KEYS[4], ARGV[#ARGV - 3]) then
    return {'', now}
  end
elseif not enters(now + tonumber(ARGV[3])) then
  return {'', now}
end
