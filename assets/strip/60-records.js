// What a column knows: the records of its tokens, columnar as in the schema, grown chunk by chunk.

// A stream may tell nats as whole numbers of 1/scale.
function inNats(value, scale, name) {
  if (!scale || value === null || ['ids', 'rank', 'candidates', 'fates'].includes(name)) return value;
  if (typeof value === 'number') return value / scale;
  if (Array.isArray(value)) return value.map((each) => inNats(each, scale));
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, inNats(each, scale, key)]));
}

// Append columnar data; what a chunk left out stays null, so that places agree.
function extend(into, part, length) {
  const grown = (name, fresh) => (Object.hasOwn(into, name) ? into[name] : (into[name] = fresh));
  for (const [name, value] of Object.entries(part || {})) {
    if (Array.isArray(value)) {
      const series = grown(name, []);
      while (series.length < length) series.push(null);
      for (const each of value) series.push(each);
    } else if (typeof value === 'string') into[name] = grown(name, '').padEnd(length) + value;
    else if (value) extend(grown(name, Object.create(null)), value, length);
  }
}

// A column without a text. `own` is the mix that drew it and `mix` the one looked at; `tops`, `smallTops` and `would`
// are the top candidates of the policy, of the small policy, and of `mix` where it is another.
function blank() {
  return {
    head: null, places: null, own: null, mix: null, tokens: { ids: [], fates: '', logprob: {} },
    rows: [], tops: [], smallTops: [], would: [], values: [],
    texts: new Map(), bytes: new Map(), special: new Map(), words: new Map(),
    groups: [], owner: [], blocks: [], open: 0, current: 0, stop: null,
  };
}

function begin(column, { policy, formula, members, roles, scale }, moved) {
  column.head = { policy, formula, members, roles: roles || {}, scale: scale || 0 };
  column.places = placesOf(column.head);
  column.own = mixOf(column, policy.behaviours || {}, policy.amplification);
  column.mix = mixAsMoved(column, moved);
}

// A document or a stream chunk. The first carries the header; without one there is nothing to tell.
function take(column, chunk, moved) {
  if (!column.head) {
    if (!chunk.policy) return;
    begin(column, chunk, moved);
  }
  for (const name of ['texts', 'bytes', 'special']) {
    for (const [id, text] of Object.entries(chunk[name] || {})) column[name].set(Number(id), text);
  }
  const before = column.tokens.ids.length;
  extend(column.tokens, inNats(chunk.tokens || {}, column.head.scale), before);
  for (let i = before; i < column.tokens.ids.length; i += 1) {
    column.tops.push(topOf(column, i, column.own));
    column.smallTops.push(smallTopOf(column, i));
    column.would.push(wouldBe(column, i));
  }
}

function reweighed(column, moved) {
  column.mix = mixAsMoved(column, moved);
  column.would = column.tokens.ids.map((_, i) => wouldBe(column, i));
}
