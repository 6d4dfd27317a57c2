"""What Redis does in one step: Lua scripts over one key each, so that they work on a cluster too.

A roll is a sorted set: `m:<member>` by the time at which it leaves, in milliseconds of the server's clock. The mark
`whole:<run>` says until when the roll may be trusted in this run of the server; it stands in the same key, so that
whatever takes a part of the roll (a flush, eviction, a restart on older data, another server) takes the mark as well.
"""

from __future__ import annotations

COUNT = """
local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return count
"""

UNLOCK = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""

_BEFORE = """
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function live(member)
  local till = redis.call('ZSCORE', KEYS[1], member)
  return till and tonumber(till) > now
end
local function put(member, ttl) redis.call('ZADD', KEYS[1], now + tonumber(ttl), member) end
"""

LISTED = (  # 1 yes, 0 no, -1 not there but the roll may not be whole
    _BEFORE
    + """
if live('m:' .. ARGV[1]) then return 1 end
return live('whole:' .. run) and 0 or -1
"""
)

ENLIST = (  # a server that is full takes nothing in, but the mark can be taken away
    _BEFORE
    + """
local done = redis.pcall('ZADD', KEYS[1], now + tonumber(ARGV[2]), 'm:' .. ARGV[1])
if type(done) == 'table' and done.err then
  redis.call('ZREM', KEYS[1], 'whole:' .. run)
  return done
end
return 1
"""
)

BEGIN = (  # before the owner reads: what is lost from here on takes this mark along
    _BEFORE
    + """
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
put('filling:' .. run .. ARGV[1], ARGV[2])
"""
)

FILL = (  # token, ttl of the mark, then member and ttl in turns
    _BEFORE
    + """
local filling = 'filling:' .. run .. ARGV[1]
if not live(filling) then return 0 end
for index = 3, #ARGV, 2 do put('m:' .. ARGV[index], ARGV[index + 1]) end
put('whole:' .. run, ARGV[2])
redis.call('ZREM', KEYS[1], filling)
return 1
"""
)
