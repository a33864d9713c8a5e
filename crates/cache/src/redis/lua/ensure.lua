-- For scripts that store: there must be a generation, and it must name the schema, so that the others end the entries
-- that this one stores. A lost generation is never used again: the new one is the time. One that has no room for another
-- schema is over: nobody would end the entries of one that was left out.
if not alone and not (generation and string.find(schemas .. ' ', ' ' .. ARGV[3] .. ' ', 1, true)) then
  if not generation or #schemas > 200 then
    generation, schemas = math.max(now, (generation or 0) + 1), ''
    if generation >= 3e15 then generation = now end
  end
  schemas = schemas .. ' ' .. ARGV[3]
  redis.call('SET', KEYS[2], string.format('%016.0f', generation) .. schemas)
end
