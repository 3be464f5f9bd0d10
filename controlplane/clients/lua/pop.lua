-- The best ready notebook of a pool, or false when there is none or the index is not whole.
-- KEYS: generation, ready of the pool. What is not a notebook's id is thrown away.
if redis.call('EXISTS', KEYS[1]) == 0 then
  return false
end
for _ = 1, 100 do
  local best = redis.pcall('ZPOPMAX', KEYS[2])
  if best.err then
    redis.call('DEL', KEYS[2])
    return false
  end
  if #best == 0 then
    return false
  end
  if #best[1] == 36 and string.match(best[1], '^[0-9a-f-]+$') then
    return best[1]
  end
end
return false
