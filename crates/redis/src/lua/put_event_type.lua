-- Creates or replaces an entry of the catalog.
-- KEYS: catalog, names in it, meta, discovered names.
-- ARGV: dataset, name, record, expected revision (0: new), 1 if it is still only discovered, leap of the catalog's counter.
if redis.call('HGET', KEYS[3], 'dataset') ~= ARGV[1] then return 'dataset' end
local revision = 0
local current = redis.call('HGET', KEYS[1], ARGV[2])
if current then revision = cjson.decode(current).revision end
if revision ~= tonumber(ARGV[4]) then return 'conflict' end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
redis.call('ZADD', KEYS[2], 0, ARGV[2])
redis.call(ARGV[5] == '1' and 'SADD' or 'SREM', KEYS[4], ARGV[2])
redis.call('HINCRBY', KEYS[3], 'catalog', ARGV[6])
return tostring(revision + 1)
