-- Sets what a node holds of up to eight windows of an account and one key to what the node says, and gives it more of them:
-- of all, or of none.
--
-- KEYS: the bucket's incarnation, then one window each; all with one hash tag.
-- ARGV: what the node has restored to ('' for nothing), node, epoch, seq, long_parts, slots_parts, share_lease,
--       slots_lease, slack, period, forget_after; then for each window eight:
--       'L', limit, bare, begins, ends, kept, holds, want            a day or a month
--       'S', limit, bare, share, want_share, want_tokens, 0, 0       a second
--       'C', limit, bare, holds, want, 0, 0, 0                       a concurrency
-- Answers {0, now, ...} with, for each window,
--       granted, left, open | share, until, tokens, second, left | slots, until, left
-- or {1}: a later call was there before; {2, id}: this data is not what the node has restored to; {3}: not all nodes have
-- restored yet. Then nothing is changed.

local HEADER, EACH = 11, 8

local call = {
  node = ARGV[2], epoch = tonumber(ARGV[3]), seq = tonumber(ARGV[4]), long_parts = tonumber(ARGV[5]),
  slots_parts = tonumber(ARGV[6]), share_lease = tonumber(ARGV[7]), slots_lease = tonumber(ARGV[8]),
  slack = tonumber(ARGV[9]), period = tonumber(ARGV[10]), forget_after = tonumber(ARGV[11]),
}
local now = clock()
local bucket = bucket_at(KEYS[1], now)
if ARGV[1] ~= bucket.id then return { 2, bucket.id } end
if bucket.restoring then return { 3 } end

-- At most what is left divided among those who ask, so that grants get smaller toward the end.
local function most_of(left, parts)
  return min(max(floor(left / parts), 1), left)
end

local function take_long(long, ask)
  local is_open = now >= ask[1] - call.slack and now < ask[2] + call.slack
  hold_long(long, ask[4])
  local used = bucket.losses and max(long.out, long.known_out) or long.out
  local left = max(ask.limit - used, 0)

  local period = floor(now / call.period)
  if long.period ~= period then
    long.callers_before = long.period + 1 == period and long.callers or 0
    long.callers, long.period = 0, period
  end
  if long.counted ~= period then
    long.counted = period
    long.callers = long.callers + 1
  end
  -- At least one: a node that was counted before the clock was set back is not counted again.
  local members = max(long.callers, long.callers_before, 1)

  local grant = is_open and min(ask[5], most_of(left, call.long_parts * members)) or 0
  long.granted = long.granted + grant
  long.out = long.out + grant
  long.known_out = long.known_out + grant
  local is_bare = ask.bare and ask[5] > 0 and grant == 0
  return { long.granted, left - grant, is_open and 1 or 0 }, is_bare
end

local function take_second(second, ask)
  roll(second, now)
  clip_and_forget(second, now, call)
  local node = hold_second(second, now, call, ask[1])
  local milli = second.second > floor(now / 1000) and 0 or now % 1000
  local spent = second.tokens + floor(second.before * (999 - milli) / 1000)
  local wanted = ask[2]
  for name, other in pairs(second.nodes) do
    if name ~= call.node then
      spent = spent + weight(second, other)
      if now < other.till then wanted = wanted + other.want end
    end
  end

  node.want = ask[2]
  if node.want > 0 then
    local held = node.share
    -- By what nodes want; where that would be less than 1, tokens serve better.
    local fair = node.want
    if wanted > ask.limit then
      local product = ask.limit * node.want
      fair = floor(product / wanted)
      if fair > 0 and product % wanted > 0 then fair = fair + 1 end
    end
    node.share = min(node.want, fair, max(ask.limit - spent, 0))
    if node.share < held then
      -- It may never hear of it.
      keep_old(node, held, floor(node.till / 1000) + 1)
    end
    node.till = now + call.share_lease
  end
  spent = spent + weight(second, node)

  local tokens = 0
  if node.share == 0 then
    tokens = min(ask[3], max(ask.limit - spent, 0))
    second.tokens = second.tokens + tokens
  end
  local is_bare = ask.bare and (ask[2] > 0 or ask[3] > 0) and node.share == 0 and tokens == 0
  return { node.share, node.till, tokens, second.second, max(ask.limit - spent - tokens, 0) }, is_bare
end

local function take_slots(slots, ask)
  local ends = now + call.slots_lease
  local till = ends + call.forget_after
  local record = { slots = 0, till = 0 }
  local others, holders = 0, 1
  for name, node in pairs(slots.nodes) do
    if node.till > till then
      -- Said before the clock was set back.
      node.till, node.is_changed = till, true
    end
    if name == call.node then
      if now < node.till then record = node end
    elseif now >= node.till then
      slots.gone[name] = true
    else
      others = others + node.slots
      if node.slots > 0 then holders = holders + 1 end
    end
  end
  for name in pairs(slots.gone) do
    slots.nodes[name] = nil
  end

  local holds = ask[1]
  local left = max(ask.limit - others - holds, 0)
  local grant = min(ask[2], most_of(left, call.slots_parts * holders))
  -- What it holds beyond what is noted has ended here: that counts, since it may be in use, but it is not renewed where
  -- others have it now.
  local kept = min(holds, max(record.slots, ask.limit - others))
  slots.nodes[call.node] = { slots = holds + grant, till = till, epoch = call.epoch, seq = call.seq, is_changed = true }
  local is_bare = ask.bare and ask[2] > 0 and kept + grant <= holds
  return { kept + grant, ends, left - grant }, is_bare
end

local kinds = {
  L = { read = read_long, is_stale = is_stale_long, take = take_long },
  S = { read = read_second, is_stale = is_stale_node, take = take_second },
  C = { read = read_slots, is_stale = is_stale_node, take = take_slots },
}

local asks = {}
for i = 2, #KEYS do
  local at = HEADER + (i - 2) * EACH
  local ask = { kind = ARGV[at + 1], limit = tonumber(ARGV[at + 2]), bare = ARGV[at + 3] == '1' }
  for field = 1, 5 do
    ask[field] = tonumber(ARGV[at + 3 + field])
  end
  asks[i - 1] = ask
end

-- Carries the asks out on what `windows` says; nothing is written. And whether the node is left bare of something.
local function work(windows)
  local answers, is_bare = {}, false
  for i, ask in ipairs(asks) do
    local bare
    answers[i], bare = kinds[ask.kind].take(windows[i], ask)
    is_bare = is_bare or bare
  end
  return answers, is_bare
end

local function read_all()
  local windows = {}
  for i, ask in ipairs(asks) do
    windows[i] = kinds[ask.kind].read(KEYS[i + 1], call)
  end
  return windows
end

local windows = read_all()
for i, ask in ipairs(asks) do
  if kinds[ask.kind].is_stale(windows[i], call) then return { 1 } end
end
local answers, is_bare = work(windows)
if is_bare then
  -- What could not be spent is not given: the call becomes a return, or a renewal.
  windows = read_all()
  for _, ask in ipairs(asks) do
    if ask.kind == 'L' then
      ask[5] = 0
    elseif ask.kind == 'S' then
      ask[2], ask[3] = 0, 0
    else
      ask[2] = 0
    end
  end
  answers = work(windows)
end

local answer = { 0, now }
for i, ask in ipairs(asks) do
  if ask.kind == 'L' then
    write_long(windows[i], call, ask[2], ask[3])
  elseif ask.kind == 'S' then
    write_second(windows[i], call)
  else
    write_slots(windows[i], call)
  end
  for _, value in ipairs(answers[i]) do
    answer[#answer + 1] = value
  end
end
return answer
