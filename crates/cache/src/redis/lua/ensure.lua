-- For scripts that store: there must be a generation, and it must name the schema, so that its neighbours end the entries
-- that this one stores. A lost generation is never used again: the new one is the time.
if not alone and not (generation and string.find(schemas .. ' ', ' ' .. ARGV[3] .. ' ', 1, true)) then
  if not generation then
    generation, schemas = now, ''
  elseif #schemas > 200 then
    schemas = string.match(schemas, '^ %d+(.*)$') or ''
  end
  redis.call('SET', KEYS[2], string.format('%016.0f', generation) .. schemas .. ' ' .. ARGV[3])
end
