-- Makes something of a message forgotten. KEYS: message. ARGV: field, what stands there from now on.
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
if ARGV[1] == 'm' then redis.call('HSET', KEYS[1], 'x', 1) end
return 1
