-- Removes an entry of the catalog. KEYS: catalog, names in it, meta, discovered names. ARGV: dataset, name,
-- leap of the catalog's counter.
if redis.call('HGET', KEYS[3], 'dataset') ~= ARGV[1] then return 'dataset' end
if redis.call('HDEL', KEYS[1], ARGV[2]) == 0 then return 'absent' end
redis.call('ZREM', KEYS[2], ARGV[2])
redis.call('SREM', KEYS[4], ARGV[2])
redis.call('HINCRBY', KEYS[3], 'catalog', ARGV[3])
return 'done'
