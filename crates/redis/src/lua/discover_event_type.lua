-- Adds an entry that was seen in traffic, unless it is there or too many wait.
-- KEYS: catalog, names in it, meta, discovered names. ARGV: dataset, name, record, most.
if redis.call('HGET', KEYS[3], 'dataset') ~= ARGV[1] then return 'dataset' end
if redis.call('HEXISTS', KEYS[1], ARGV[2]) == 1 then return 'known' end
if redis.call('SCARD', KEYS[4]) >= tonumber(ARGV[4]) then return 'full' end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
redis.call('ZADD', KEYS[2], 0, ARGV[2])
redis.call('SADD', KEYS[4], ARGV[2])
return 'added'
