-- ARGV[1]: 'next' begins a new generation, 'ensure' only if there is none. A lost generation is never used again: the
-- new one is the time.
local current = tonumber(redis.call('GET', KEYS[1]) or '') or 0
if ARGV[1] == 'next' or current <= 0 then
  local time = redis.call('TIME')
  current = math.max(current + 1, tonumber(time[1]) * 1000000 + tonumber(time[2]))
  redis.call('SET', KEYS[1], string.format('%.0f', current))
end
return current
