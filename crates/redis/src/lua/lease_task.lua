-- Leases the unfinished task that waits for longest. KEYS: tasks, unfinished ones by the end of their lease, meta.
-- ARGV: dataset, now in ms, end of the lease in ms.
if redis.call('HGET', KEYS[3], 'dataset') ~= ARGV[1] then return { 'dataset' } end
local id = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[2], 'LIMIT', 0, 1)[1]
if not id then return { 'none' } end
local record = redis.call('HGET', KEYS[1], id)
if not record then
  redis.call('ZREM', KEYS[2], id)
  return { 'none' }
end
redis.call('ZADD', KEYS[2], ARGV[3], id)
return { 'leased', record }
