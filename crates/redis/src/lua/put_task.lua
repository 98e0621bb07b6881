-- Writes a task. KEYS: tasks, unfinished ones by the end of their lease, meta, finished ones by when.
-- ARGV: dataset, id, record, end of the lease in ms or '' once it is finished, now in ms, finished ones older than this go.
if redis.call('HGET', KEYS[3], 'dataset') ~= ARGV[1] then return 'dataset' end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
if ARGV[4] == '' then
  redis.call('ZREM', KEYS[2], ARGV[2])
  redis.call('ZADD', KEYS[4], ARGV[5], ARGV[2])
else
  redis.call('ZADD', KEYS[2], ARGV[4], ARGV[2])
end
local old = redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', ARGV[6], 'LIMIT', 0, 100)
for _, id in ipairs(old) do
  redis.call('HDEL', KEYS[1], id)
  redis.call('ZREM', KEYS[4], id)
end
return 'done'
