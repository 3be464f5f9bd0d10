-- A notebook became ready: first in its pool until the next audit gives it its place.
-- KEYS: ready of the pool, pace of the pool. ARGV: notebook, stamps kept, seconds kept.
local best = redis.pcall('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')
if best.err then
  redis.call('DEL', KEYS[1])
  best = {}
end
local score = tonumber(best[2] or '0') + 1
if redis.call('ZADD', KEYS[1], 'NX', score, ARGV[1]) == 1 then
  local now = redis.call('TIME')
  local pushed = redis.pcall('LPUSH', KEYS[2], now[1] .. '.' .. string.format('%06d', now[2]))
  if type(pushed) == 'table' and pushed.err then
    redis.call('DEL', KEYS[2])
  else
    redis.call('LTRIM', KEYS[2], 0, ARGV[2] - 1)
    redis.call('EXPIRE', KEYS[2], ARGV[3])
  end
end
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
