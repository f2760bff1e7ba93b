-- The rules by which a window is shared out among nodes, as in the `Book` of filters/src/lease/book: the two are held
-- against each other by a test, and whoever changes one changes the other. This file stands before take.lua and
-- restore.lua.
--
-- Whole numbers only, all below 2^53, where Lua's doubles are exact. They become text by `int`: `tostring` would write a
-- large one as 1e+15.
--
-- Every window is a hash. What stands in it of a node is one field, named by the node's id.

local floor, min, max = math.floor, math.min, math.max

local function int(n)
  return string.format('%.0f', n)
end

local function number(text)
  return tonumber(text) or 0
end

-- Milliseconds since 1970. The server's clock is the fleet's.
local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000 + floor(time[2] / 1000)
end

-- Another one after every start of the server, and on every replica: whoever has started again may have forgotten what it
-- acknowledged last.
local function server_run()
  return string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
end

-- Seconds that a bucket's incarnation is kept without a call; renewed when half of it is over.
local KEPT = 62 * 86400

-- Which data this is: a hash of `id`, `run`, `state`, `losses`, `empty` and `departed`. Begun anew where there is none, or where it is of
-- another run.
local function bucket_at(key, now)
  local is = redis.call('HMGET', key, 'id', 'run', 'state', 'losses', 'kept_until')
  local run = server_run()
  local id = is[1]
  if is[2] ~= run then
    id = string.sub(run, 1, 16) .. '-' .. int(now)
    redis.call('DEL', key)
    redis.call('HSET', key, 'id', id, 'run', run, 'state', 'restoring', 'losses', '0', 'empty', is[2] and '0' or '1')
    is = { id, run, 'restoring', '0', false }
  end
  local second = floor(now / 1000)
  if number(is[5]) - second < KEPT / 2 then
    redis.call('HSET', key, 'kept_until', int(second + KEPT))
    redis.call('EXPIRE', key, KEPT)
  end
  return { id = id, restoring = is[3] == 'restoring', losses = is[4] == '1' }
end

-- Whether a call `a` of a node does not come after its call `b`.
local function is_old(a_epoch, a_seq, b_epoch, b_seq)
  return a_epoch < b_epoch or (a_epoch == b_epoch and a_seq <= b_seq)
end

---- Days and months -------------------------------------------------------------------------------------------------------
-- `out`: granted to all nodes. `known_out`: what nodes that restored knew to be out, and was given since. `period`, `callers`,
-- `callers_before`: how many nodes called in this period, and in the one before. A node: "granted epoch seq period".

local function read_long(key, call)
  local is = redis.call('HMGET', key, 'out', 'known_out', 'period', 'callers', 'callers_before', call.node)
  local granted, epoch, seq, period = string.match(is[6] or '', '^(%d+) (%d+) (%d+) (%d+)$')
  return {
    key = key, out = number(is[1]), known_out = number(is[2]), period = number(is[3]), callers = number(is[4]),
    callers_before = number(is[5]), is_known = granted ~= nil, granted = number(granted), epoch = number(epoch),
    seq = number(seq), counted = number(period),
  }
end

local function is_stale_long(long, call)
  return long.is_known and is_old(call.epoch, call.seq, long.epoch, long.seq)
end

-- Sets the node's part to what it says it is. What those may have who were not waited for stays as much beside it.
local function hold_long(long, holds)
  long.out = long.out - long.granted + holds
  long.known_out = max(long.known_out + holds - long.granted, 0)
  long.granted = holds
end

local function write_long(long, call, ends, kept)
  redis.call('HSET', long.key, 'out', int(long.out), 'known_out', int(long.known_out), 'period', int(long.period),
    'callers', int(long.callers), 'callers_before', int(long.callers_before), call.node,
    int(long.granted) .. ' ' .. int(call.epoch) .. ' ' .. int(call.seq) .. ' ' .. int(long.counted))
  if not long.is_known then
    redis.call('PEXPIREAT', long.key, int(ends + kept))
  end
end

---- Seconds ---------------------------------------------------------------------------------------------------------------
-- `second`, and the `tokens` of it and of the one before. A node: "share until want old old_until epoch seq", where `old`
-- is what it had, which counts through the second `old_until`.

local NODE = '^%x+$'

local function read_second(key, call)
  local fields = redis.call('HGETALL', key)
  local second = { key = key, second = 0, tokens = 0, before = 0, nodes = {}, gone = {} }
  for i = 1, #fields, 2 do
    local name, text = fields[i], fields[i + 1]
    if #name == 32 and string.match(name, NODE) then
      local share, till, want, old, old_until, epoch, seq =
        string.match(text, '^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+)$')
      second.nodes[name] = {
        share = number(share), till = number(till), want = number(want), old = number(old), old_until = number(old_until),
        epoch = number(epoch), seq = number(seq),
      }
    else
      second[name] = number(text)
    end
  end
  return second
end

local function is_stale_node(window, call)
  local node = window.nodes[call.node]
  return node ~= nil and is_old(call.epoch, call.seq, node.epoch, node.seq)
end

-- What a node counts for in this second: its share through the second after it has ended.
local function weight(second, node)
  local share, old = 0, 0
  if second.second <= floor(node.till / 1000) + 1 then share = node.share end
  if second.second <= node.old_until then old = node.old end
  return max(share, old)
end

local function keep_old(node, share, through)
  node.old = max(node.old, share)
  node.old_until = max(node.old_until, through)
end

-- Moves on to the second of `now`. A clock that is behind by little counts in the newest second; one that is further behind
-- was set back.
local function roll(second, now)
  local this = floor(now / 1000)
  if this > second.second then
    second.before = this - second.second == 1 and second.tokens or 0
    second.tokens, second.second = 0, this
  elseif second.second - this > 2 then
    second.before = second.tokens
    second.tokens, second.second = 0, this
  end
end

-- Times that lie too far ahead were said before the clock was set back. Nodes that count for nothing are dropped.
local function clip_and_forget(second, now, call)
  for name, node in pairs(second.nodes) do
    local till = min(node.till, now + call.share_lease)
    local old_until = min(node.old_until, second.second + floor(call.share_lease / 1000) + 2)
    node.is_changed = till ~= node.till or old_until ~= node.old_until
    node.till, node.old_until = till, old_until
    if now >= node.till and weight(second, node) == 0 then
      second.gone[name] = true
    end
  end
  for name in pairs(second.gone) do
    second.nodes[name] = nil
  end
end

-- The caller's node, set to what it says.
local function hold_second(second, now, call, share)
  local node = second.nodes[call.node] or { share = 0, till = 0, want = 0, old = 0, old_until = 0 }
  second.nodes[call.node] = node
  second.gone[call.node] = nil
  if share < node.share then
    -- Lowered before it called: nothing of it is spent from now on.
    keep_old(node, node.share, min(floor(node.till / 1000), second.second) + 1)
  elseif share > node.share then
    -- It has ended here, not there: a clock was set. It counts for as long as it may go on, and is not renewed.
    keep_old(node, share, floor((now + call.share_lease) / 1000) + 1)
  end
  node.share = min(node.share, share)
  node.epoch, node.seq, node.is_changed = call.epoch, call.seq, true
  return node
end

local function write_second(second, call)
  local fields = { 'second', int(second.second), 'tokens', int(second.tokens), 'before', int(second.before) }
  for name, node in pairs(second.nodes) do
    if node.is_changed then
      fields[#fields + 1] = name
      fields[#fields + 1] = int(node.share) .. ' ' .. int(node.till) .. ' ' .. int(node.want) .. ' ' .. int(node.old) .. ' '
        .. int(node.old_until) .. ' ' .. int(node.epoch) .. ' ' .. int(node.seq)
    end
  end
  redis.call('HSET', second.key, unpack(fields))
  for name in pairs(second.gone) do
    redis.call('HDEL', second.key, name)
  end
  redis.call('PEXPIRE', second.key, int(call.share_lease + 10000))
end

---- Concurrency -----------------------------------------------------------------------------------------------------------
-- A node: "slots until epoch seq". It admits by them until `forget_after` before that: what it has admitted goes on.

local function read_slots(key, call)
  local fields = redis.call('HGETALL', key)
  local slots = { key = key, nodes = {}, gone = {} }
  for i = 1, #fields, 2 do
    local held, till, epoch, seq = string.match(fields[i + 1], '^(%d+) (%d+) (%d+) (%d+)$')
    slots.nodes[fields[i]] = { slots = number(held), till = number(till), epoch = number(epoch), seq = number(seq) }
  end
  return slots
end

local function write_slots(slots, call)
  local fields = {}
  for name, node in pairs(slots.nodes) do
    if node.is_changed then
      fields[#fields + 1] = name
      fields[#fields + 1] = int(node.slots) .. ' ' .. int(node.till) .. ' ' .. int(node.epoch) .. ' ' .. int(node.seq)
    end
  end
  redis.call('HSET', slots.key, unpack(fields))
  for name in pairs(slots.gone) do
    redis.call('HDEL', slots.key, name)
  end
  redis.call('PEXPIRE', slots.key, int(call.slots_lease + call.forget_after + 10000))
end
