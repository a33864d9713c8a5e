-- ARGV[1]: 'next' begins a new generation, 'ensure' only if there is none. A lost generation is never used again: the
-- new one is the time.
local current = tonumber(redis.call('GET', KEYS[1]) or '') or 0
if ARGV[1] == 'next' or current <= 0 then
  local time = redis.call('TIME')
  current = math.max(current + 1, tonumber(time[1]) * 1000000 + tonumber(time[2]))
  local stored = redis.pcall('SET', KEYS[1], string.format('%.0f', current))
  if stored.err then
    -- A server that is full takes nothing new and still removes. Without a generation nothing lives either.
    if ARGV[1] == 'ensure' or not string.find(stored.err, 'OOM', 1, true) then return stored end
    redis.call('DEL', KEYS[1])
    return 0
  end
end
return current
