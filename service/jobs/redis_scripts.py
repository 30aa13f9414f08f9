"""The steps that Redis has to take at once, as Lua scripts.

Redis runs a script as a whole, so that instances of the service that change the same job at the same time cannot mix their steps.
All scripts measure time by the clock of Redis, in milliseconds.

The keys are: the hash of a job (state, finished, beat), the sorted set of its owner's jobs by the time of their creation, the
sorted set of all jobs by the time at which their bytes are free, the hash of their sizes, and the sum of these sizes.
"""

_NOW = "local t = redis.call('TIME'); local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"

_SWEEP = """
for _, member in ipairs(redis.call('ZRANGEBYSCORE', ends, '-inf', now)) do
  redis.call('DECRBY', total, redis.call('HGET', sizes, member) or 0)
  redis.call('HDEL', sizes, member)
  redis.call('ZREM', ends, member)
end
"""

SWEEP = (
    _NOW + "local ends, sizes, total = KEYS[1], KEYS[2], KEYS[3]\n" + _SWEEP + "return tonumber(redis.call('GET', total) or 0)"
)
"""KEYS: ends, sizes, sum. Free the bytes of expired results; return the sum of all sizes."""

ADD = (
    _NOW
    + "local job, owner, ends, sizes, total = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]\n"
    + "local state, id, member = ARGV[1], ARGV[2], ARGV[3]\n"
    + "local size, capacity, lease, keep = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])\n"
    + _SWEEP
    + """
if redis.call('EXISTS', job) == 1 then return {'exists', 0} end
local missing = tonumber(redis.call('GET', total) or 0) + size - capacity
if missing > 0 then
  local places = redis.call('ZRANGE', ends, 0, -1, 'WITHSCORES')
  for i = 1, #places, 2 do
    missing = missing - (redis.call('HGET', sizes, places[i]) or 0)
    if missing <= 0 then return {'full', math.max(1000, places[i + 1] - now)} end
  end
  return {'full', keep}
end
redis.call('HSET', job, 'state', state, 'finished', 0, 'beat', now)
redis.call('PEXPIRE', job, lease + keep)
redis.call('ZADD', owner, now, id)
redis.call('PEXPIRE', owner, lease + 3 * keep)
redis.call('ZADD', ends, now + lease + keep, member)
redis.call('HSET', sizes, member, size)
redis.call('INCRBY', total, size)
return {'added', 0}
"""
)
"""KEYS: job, owner, ends, sizes, sum. ARGV: state, ID, member, size, capacity, lease, time to keep results."""

CHANGE = (
    _NOW
    + "local job, ends, sizes, total = KEYS[1], KEYS[2], KEYS[3], KEYS[4]\n"
    + "local state, finished, member, size = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])\n"
    + "local hold, expire = tonumber(ARGV[5]), tonumber(ARGV[6])\n"
    + """
if redis.call('HGET', job, 'finished') ~= '0' then return 0 end
redis.call('HSET', job, 'state', state, 'finished', finished, 'beat', now)
redis.call('PEXPIRE', job, expire)
if redis.call('HEXISTS', sizes, member) == 1 then
  redis.call('ZADD', ends, now + hold, member)
  if size >= 0 then
    redis.call('INCRBY', total, size - redis.call('HGET', sizes, member))
    redis.call('HSET', sizes, member, size)
  end
end
return 1
"""
)
"""KEYS: job, ends, sizes, sum. ARGV: state, whether it is final (0 or 1), member, new size or -1, time for which to hold its
bytes, time for which to keep its state. Return 0, and change nothing, if the job has ended or is gone."""

READ = _NOW + "local found = redis.call('HMGET', KEYS[1], 'state', 'finished', 'beat'); found[4] = now; return found"
"""KEYS: job. Return its state, whether it is final, when it was last mentioned, and the present time."""

REMOVE = """
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('DECRBY', KEYS[5], redis.call('HGET', KEYS[4], ARGV[2]) or 0)
redis.call('HDEL', KEYS[4], ARGV[2])
redis.call('ZREM', KEYS[3], ARGV[2])
"""
"""KEYS: job, owner, ends, sizes, sum. ARGV: ID, member."""
