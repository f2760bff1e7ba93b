-- Notes what a node holds of one bucket, after the bucket's data was lost or when the node first meets it. The bucket gives
-- nothing until all nodes that are known of have said that they are done.
--
-- KEYS: the bucket's incarnation, then one window each; all with one hash tag.
-- ARGV: what the node restores to ('' only asks), node, epoch, seq, done, forget_after, share_lease, slots_lease, departed,
--       number of members; for each of them its node and last beat; then for each window eight:
--       'L', ends, kept, holds, out, 0, 0, 0
--       'S', share, lasts, second, count, before, 0, 0
--       'C', slots, lasts, 0, 0, 0, 0, 0
-- Answers {0, id}: ready; {1}: a later call was there before; {3, id, n}: n nodes are waited for. Where `id` is not what the
-- node restores to, nothing was changed.

local HEADER, EACH = 10, 8

local call = {
  node = ARGV[2], epoch = tonumber(ARGV[3]), seq = tonumber(ARGV[4]), share_lease = tonumber(ARGV[7]),
  slots_lease = tonumber(ARGV[8]), forget_after = tonumber(ARGV[6]),
}
local members = tonumber(ARGV[10])
local now = clock()
local bucket = bucket_at(KEYS[1], now)

-- `e:` and a node: waited for, with the last beat that anybody knows of. `d:` and a node: done.
local expected, done = {}, {}
if bucket.restoring then
  local fields = redis.call('HGETALL', KEYS[1])
  for i = 1, #fields, 2 do
    local kind, node = string.match(fields[i], '^([ed]):(%x+)$')
    if kind == 'e' then expected[node] = number(fields[i + 1]) end
    if kind == 'd' then done[node] = true end
  end
end

local function waits_for()
  local count = done[call.node] and 0 or 1
  for node, beat in pairs(expected) do
    if node ~= call.node and not done[node] and max(now - beat, 0) < call.forget_after then count = count + 1 end
  end
  return count
end

local function answer()
  if bucket.restoring then return { 3, bucket.id, waits_for() } end
  return { 0, bucket.id }
end

if ARGV[1] ~= bucket.id then return answer() end

local windows, helds = {}, {}
for i = 2, #KEYS do
  local at = HEADER + members * 2 + (i - 2) * EACH
  local held = { kind = ARGV[at + 1] }
  for field = 1, 5 do
    held[field] = tonumber(ARGV[at + 1 + field])
  end
  local window, is_stale
  if held.kind == 'L' then
    window = read_long(KEYS[i], call)
    is_stale = is_stale_long(window, call)
  else
    window = held.kind == 'S' and read_second(KEYS[i], call) or read_slots(KEYS[i], call)
    is_stale = is_stale_node(window, call)
  end
  if is_stale then return { 1 } end
  windows[i - 1], helds[i - 1] = window, held
end

local is_first = not done[call.node]

local function restore_second(second, held)
  roll(second, now)
  clip_and_forget(second, now, call)
  local node = hold_second(second, now, call, held[1])
  node.share, node.till = held[1], now + min(held[2], call.share_lease)
  if not is_first then return end
  -- What it has admitted lately, as tokens. Counted twice it is gone in two seconds.
  local this, count, before = held[3], held[4], held[5]
  if this == second.second + 1 then
    second.tokens = second.tokens + count + before
  elseif this == second.second then
    second.tokens = second.tokens + count
    second.before = second.before + before
  elseif this == second.second - 1 then
    second.before = second.before + count
  end
end

for i, held in ipairs(helds) do
  local window = windows[i]
  if held.kind == 'L' then
    local known_out = window.known_out
    hold_long(window, held[3])
    if bucket.restoring then
      -- The node's part is among what others knew.
      window.known_out = max(known_out, held[4])
    end
    write_long(window, call, held[1], held[2])
  elseif held.kind == 'S' then
    restore_second(window, held)
    write_second(window, call)
  else
    window.nodes[call.node] = {
      slots = held[1], till = now + min(held[2], call.slots_lease) + call.forget_after, epoch = call.epoch, seq = call.seq,
      is_changed = true,
    }
    write_slots(window, call)
  end
end

if bucket.restoring then
  for i = 1, members do
    local node, beat = ARGV[HEADER + i * 2 - 1], tonumber(ARGV[HEADER + i * 2])
    expected[node] = max(expected[node] or 0, min(beat, now))
    redis.call('HSET', KEYS[1], 'e:' .. node, int(expected[node]))
  end
  if ARGV[9] == '1' then
    redis.call('HSET', KEYS[1], 'departed', '1')
  end
  if ARGV[5] == '1' then
    done[call.node] = true
    redis.call('HSET', KEYS[1], 'd:' .. call.node, '1')
  end
  if waits_for() == 0 then
    -- Nothing stood here of what nodes counted that are gone.
    local lost_of = redis.call('HMGET', KEYS[1], 'departed', 'empty')
    local is_missing = lost_of[1] == '1' and lost_of[2] == '1'
    for node in pairs(expected) do
      is_missing = is_missing or not done[node]
      redis.call('HDEL', KEYS[1], 'e:' .. node)
    end
    for node in pairs(done) do
      redis.call('HDEL', KEYS[1], 'd:' .. node)
    end
    redis.call('HSET', KEYS[1], 'state', 'ready', 'losses', is_missing and '1' or '0')
    bucket.restoring = false
  end
end
return answer()
