"""The one write that Redis runs: compare, keep, publish, for a batch of bars in one round trip.

Rows come as MessagePack, because packing and unpacking are C on both sides while one argument per value is
Python. Numbers come as text: Lua's own formatting is lossy at microseconds, and Redis formats slowly.

Every bar that is news gets the next `seq` of its symbol and interval. A payload comes with the number that its writer
expects, which is taken where it is above the one held; only where another writer was in between, or the number was
lost, is the payload rewritten: to make a text of that size in Lua costs a fifth of the whole write.
Keys follow from the rows and are not declared: this is for one Redis, not for Redis Cluster.
"""

TAIL_BARS = 30

WRITE_BARS = """
local rows, now_text = cmsgpack.unpack(ARGV[1]), ARGV[2]
local now, ttl = tonumber(now_text), tonumber(ARGV[3])
local tail_bars = tonumber(ARGV[4])
local renew_after = ttl / 10
local accepted, renewed, renumbered = 0, false, {}

-- The seq after the one held, and the payload of row i with it as its first key.
local function number_anew(i, seq, held_seq, payload)
  local next_seq = string.format('%.0f', tonumber(held_seq) + 1)
  renumbered[#renumbered + 1] = i
  renumbered[#renumbered + 1] = next_seq
  return next_seq, '{"seq":' .. next_seq .. string.sub(payload, #seq + 8)
end

local again = ARGV[5] == '1'

-- Written again, a bar takes the place of the very same one: its indicators may have changed.
local function newer(rev, offset, held_rev, held_offset)
  return rev > held_rev or (rev == held_rev and (offset > held_offset or (again and offset == held_offset)))
end

local function newer_than_bar(start, rev, offset, held)
  if not held[1] then return true end
  if start ~= held[1] then return tonumber(start) > tonumber(held[1]) end
  return newer(tonumber(rev), tonumber(offset), tonumber(held[2]), tonumber(held[3]))
end

-- Whether a bar of an older start is news: its stored JSON says what is held.
local function newer_than_tail(tail, start, rev, offset)
  local held = redis.call('HGET', tail, start)
  if not held then return true end
  local held_rev = tonumber(string.match(held, '"rev":%s*(%d+)')) or -1
  local held_offset = tonumber(string.match(held, '"last_offset":%s*(%d+)')) or -1
  return newer(tonumber(rev), tonumber(offset), held_rev, held_offset)
end

-- Keep the newest starts; false when `start` itself had to go.
local function prune(tail, start)
  local starts = redis.call('HKEYS', tail)
  table.sort(starts, function(a, b) return tonumber(a) < tonumber(b) end)
  local kept = true
  for i = 1, #starts - tail_bars do
    redis.call('HDEL', tail, starts[i])
    kept = kept and starts[i] ~= start
  end
  return kept
end

local function keep_in_tail(tail, start, payload)
  if redis.call('HSET', tail, start, payload) == 0 then return true end
  redis.call('EXPIRE', tail, ttl)
  return redis.call('HLEN', tail) <= tail_bars or prune(tail, start)
end

for i = 1, #rows do
  local symbol, interval, start, rev, offset, payload, open, high, low, close, volume, vwap, trade_count, close_us,
        received_us, indicators, seq = unpack(rows[i])
  local bar, tail = 'bar:' .. symbol .. ':' .. interval, 'tail:' .. symbol .. ':' .. interval
  local held = redis.call('HMGET', bar, 'start', 'rev', 'offset', 'renewed', 'seq')
  local take = false
  if newer_than_bar(start, rev, offset, held) then
    take = true
    -- Texts of 16 digits, as microseconds have until 2286, are compared as they are.
    if held[5] and seq <= held[5] then seq, payload = number_anew(i, seq, held[5], payload) end
    local at = tonumber(held[4])
    local renew = not at or now - at >= renew_after or now < at
    redis.call('HSET', bar, 'start', start, 'rev', rev, 'offset', offset, 'seq', seq,
               'open', open, 'high', high, 'low', low, 'close', close, 'volume', volume, 'vwap', vwap,
               'trade_count', trade_count, 'json', payload)
    keep_in_tail(tail, start, payload)
    local shown = (renew or indicators ~= '') and 'indicators:' .. symbol .. ':' .. interval
    local added = indicators ~= '' and redis.call('HSET', shown, 'start', start, 'rev', rev, 'offset', offset,
                                                  'json', indicators)
    if added and added > 0 and not renew then
      -- It lives as long as the bar that says what is newer: if it outlived it, an older row could replace it.
      redis.call('PEXPIRE', shown, redis.call('PTTL', bar))
    end
    local latest = interval == '1m' and 'latest:' .. symbol
    if latest and close ~= '' then
      redis.call('HSET', latest, 'price', close, 'event_us', close_us, 'received_us', received_us,
                 'volume', volume, 'start', start, 'rev', rev)
    end
    if renew then
      renewed = true
      redis.call('HSET', bar, 'renewed', now_text)
      redis.call('EXPIRE', bar, ttl)
      redis.call('EXPIRE', tail, ttl)
      redis.call('EXPIRE', shown, ttl)
      redis.call('ZADD', 'symbols', now_text, symbol)
    end
    if latest and (renew or start ~= held[1]) then redis.call('EXPIRE', latest, ttl) end
  elseif start ~= held[1] and newer_than_tail(tail, start, rev, offset) then
    -- An amended bar that is older than the tail is still told to those who listen.
    if held[5] and seq <= held[5] then seq, payload = number_anew(i, seq, held[5], payload) end
    take = keep_in_tail(tail, start, payload) or string.find(payload, '"state":"amended"', 1, true) ~= nil
    if take then redis.call('HSET', bar, 'seq', seq) end
  end
  if take then
    accepted = accepted + 1
    redis.call('PUBLISH', bar, payload)
  end
end
if renewed then
  redis.call('ZREMRANGEBYSCORE', 'symbols', '-inf', now - ttl)
  redis.call('EXPIRE', 'symbols', ttl)
end
return {accepted, renumbered}
"""
