-- Before save.lua: of a login that is not settled in one step nothing is saved. ARGV[7]: when the session ends at the latest.
if redis.call('GETRANGE', KEYS[1], 16, 23) == ARGV[1] then
  local stands = #ARGV[4] == 0 or tonumber(ARGV[4]) >= last_epoch()
  if stands and not enters(tonumber(ARGV[7])) then
    return 2
  end
end
