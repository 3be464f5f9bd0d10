-- The index becomes exactly what Postgres holds ready.
-- KEYS: generation, pools. ARGV: prefix of the ready keys, seconds to live, generation,
-- then for each pool its name, how many notebooks, and their ids, best first.
local known = redis.pcall('SMEMBERS', KEYS[2])
if known.err then
  known = {}
end
for _, pool in ipairs(known) do
  redis.call('DEL', ARGV[1] .. pool)
end
redis.call('DEL', KEYS[2])
local at = 4
while at <= #ARGV do
  local pool, count = ARGV[at], tonumber(ARGV[at + 1])
  local key = ARGV[1] .. pool
  redis.call('DEL', key)
  for n = 1, count do
    redis.call('ZADD', key, count - n + 1, ARGV[at + 1 + n])
  end
  redis.call('EXPIRE', key, ARGV[2])
  redis.call('SADD', KEYS[2], pool)
  at = at + 2 + count
end
redis.call('EXPIRE', KEYS[2], ARGV[2])
redis.call('SET', KEYS[1], ARGV[3], 'EX', ARGV[2])
return 1
