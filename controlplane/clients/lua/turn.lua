-- 1 for the first who asks within so many milliseconds, 0 for the others.
-- KEYS: turn. ARGV: milliseconds. A key that would stay for longer is garbage, not a turn.
if redis.call('SET', KEYS[1], '1', 'NX', 'PX', ARGV[1]) then
  return 1
end
local left = redis.call('PTTL', KEYS[1])
if left < 0 or left > tonumber(ARGV[1]) then
  redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])
  return 1
end
return 0
