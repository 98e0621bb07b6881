-- Replaces a gate if it still is what it was. KEYS: the gates, those that changed last. ARGV: endpoint, what it was ('' for none), what
-- it becomes ('' for none), how many changes are kept. What is there instead, or 'done'.
local current = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if current ~= ARGV[2] then return 'is:' .. current end
if ARGV[3] == current then return 'done' end
if ARGV[3] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
end
local newest = redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')
redis.call('ZADD', KEYS[2], (tonumber(newest[2]) or 0) + 1, ARGV[1])
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -1 - tonumber(ARGV[4]))
return 'done'
