-- Deletes an application with all its endpoints; a tombstone stays.
-- KEYS: directory, apps, uids, meta, endpoints, changes, tombstones, history. ARGV: dataset, app id, now in ms, nonce, tombstone TTL
-- in s, leap of the names' counter.
if redis.call('HGET', KEYS[4], 'dataset') ~= ARGV[1] then return 'dataset' end
if redis.call('HEXISTS', KEYS[1], 'app') == 0 then return 'absent' end
local uid = redis.call('HGET', KEYS[1], 'uid') or ''
if uid ~= '' then
  redis.call('HDEL', KEYS[3], uid)
  redis.call('HINCRBY', KEYS[4], 'names', ARGV[6])
end
local counter = tonumber(string.match(redis.call('HGET', KEYS[1], 'v') or '0.', '^(%d+)')) + 1
redis.call('UNLINK', KEYS[1], KEYS[5], KEYS[6], KEYS[7], KEYS[8])
redis.call('HSET', KEYS[1], 'd', ARGV[3], 'v', counter .. '.' .. ARGV[4])
redis.call('EXPIRE', KEYS[1], ARGV[5])
redis.call('ZREM', KEYS[2], ARGV[2])
return 'done'
