// The token strip: the texts of a board, every token coloured by a measure, with what is known of it one hover away.
// Documents and stream chunks are those of the schema "eft-lab/trace/1"; all arithmetic here is the policy's formula on
// their numbers. Texts of models become text nodes only. The two dimensions of a token are told twice: sign by colour
// and by a solid or dashed underline, magnitude by colour and by the underline's thickness.

function tokenStrips({ tools, shifts, layer, live, onBranch, onRegenerate, branchable }) {
  const TOP = 10; // rows of a list
  const NEGLIGIBLE = 1e-9; // weights closer to zero are rounding, as in policy.py
  const ROUNDING = 2e-3; // numbers of a document are rounded: the token on the filter's edge is inside
  const OPEN_AFTER = 150;
  const CLOSE_AFTER = 250; // time to move the pointer from the token into the popover
  const FATES = {
    p: 'drawn from the policy', a: 'drafted and accepted', r: 'recovered: the draft had proposed another',
    b: 'bonus: drawn after a whole accepted draft', g: 'given, not drawn',
  };

  // --- measures: what a token is coloured by. components/scale.py has the same titles and limits.

  const MEASURES = {
    total_variation: {
      title: 'Total variation', low: 0, high: 1, unit: '', needs: 'small',
      of: ({ tokens }, i) => at(tokens.total_variation?.small, i),
      hint: 'Half of Σ|policy − small policy|: how far the large base moves this choice.',
    },
    total_variation_base: {
      title: 'Total variation against base', low: 0, high: 1, unit: '', needs: 'base',
      of: ({ tokens }, i) => at(tokens.total_variation?.base, i),
      hint: 'Half of Σ|policy − large base|: how far fine-tuning moves this choice.',
    },
    shift: {
      title: 'Shift', low: -3, high: 3, unit: 'nats', needs: 'small', of: shiftOf,
      hint: 'log policy − log small policy of the token: what the large base adds to it.',
    },
    against_base: {
      title: 'Against large base', low: -3, high: 3, unit: 'nats', needs: 'base',
      of: (column, i) => minus(at(column.tokens.logprob.policy, i), under(column, column.head.roles.base, i)),
      hint: 'log policy − log large base of the token: what fine-tuning adds to it.',
    },
    finetuning: {
      title: 'Fine-tuning delta', low: -3, high: 3, unit: 'nats', needs: 'tuned', of: finetuning,
      hint: 'Σ λ (tuned − base) at the fine-tuning size, as it enters the sum.',
    },
    upscaling: {
      title: 'Up-scaling delta', low: -3, high: 3, unit: 'nats', needs: 'bases', of: upscaling,
      hint: 'β (base at the pre-training size − base at the fine-tuning size), as it enters the sum.',
    },
    deltas: {
      title: 'Both deltas', low: -3, high: 3, unit: 'nats', needs: 'all',
      of: (column, i) => plus(finetuning(column, i), upscaling(column, i)),
      hint: 'Fine-tuning delta + up-scaling delta: the whole step away from the base at the fine-tuning size.',
    },
    divergence: {
      title: 'KL to small policy', low: 0, high: 3, unit: 'nats', needs: 'small',
      of: ({ tokens }, i) => at(tokens.divergence?.small, i),
      hint: 'KL(policy ‖ small policy) at this place.',
    },
    divergence_base: {
      title: 'KL to large base', low: 0, high: 3, unit: 'nats', needs: 'base',
      of: ({ tokens }, i) => at(tokens.divergence?.base, i),
      hint: 'KL(policy ‖ large base) at this place.',
    },
    logprob: {
      title: 'Log-probability', low: -3, high: 0, unit: 'nats', needs: 'policy',
      of: ({ tokens }, i) => at(tokens.logprob.policy, i),
      hint: 'log policy of the token: the stronger, the less it was expected.',
    },
    entropy: {
      title: 'Entropy', low: 0, high: 3, unit: 'nats', needs: 'policy',
      of: ({ tokens }, i) => at(tokens.entropy?.policy, i),
      hint: 'Entropy of the policy at this place: how open the choice was.',
    },
    none: { title: 'None', low: 0, high: 0, unit: '', needs: 'policy', of: () => null, hint: 'Text without colours.' },
  };
  // Titles of the popover's table.
  const LAWS = [
    ['', ''], ['log p', 'log-probability of the token'], ['rank', 'place of the token, 1 the most probable'],
    ['entropy', 'how open the choice is, in nats'], ['TV', 'total variation between the policy and this'],
    ['KL', 'KL(policy ‖ this), in nats'], ['shift', 'log policy − log of this, of the token'],
  ];
  const IDLE = 'Move a weight: colours and top candidates follow from the stored numbers.';
  const DELTAS = ['finetuning', 'upscaling', 'deltas'];

  // --- state

  const columns = new Map(); // key -> column
  const whatIf = { behaviours: {}, beta: null, before: null }; // weights as moved; the measure that was shown before
  let jumps = []; // the places that the buttons of the shifts line lead to
  let measure = 'total_variation';
  let shown = null; // what the popover shows: { column, index }
  let pinned = false;
  let timer = 0;
  let silent = false; // a focus that must not open the popover
  let frame = 0;

  // --- small helpers

  function at(series, i) { return series?.[i] ?? null; }
  function plus(one, two) { return one === null || two === null ? null : one + two; }
  function minus(one, two) { return one === null || two === null ? null : one - two; }
  function sum(values) { return values.reduce((total, value) => total + value, 0); }
  function best(values) { return values.indexOf(Math.max(...values)); }

  function logSumExp(values) {
    const most = Math.max(...values);
    return most + Math.log(sum(values.map((value) => Math.exp(value - most))));
  }

  function node(tag, className, parent, text) {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    if (parent) parent.append(made);
    return made;
  }

  function button(className, parent, text, act) {
    const made = node('button', className, parent, text);
    made.type = 'button';
    made.dataset.act = act;
    return made;
  }

  function setText(target, text) {
    if (target.textContent !== text) target.textContent = text;
  }

  function number(value, digits = 2) {
    if (value === null) return '–';
    return value.toFixed(digits).replace(/^-(0\.?0*)$/, '$1').replace('-', '−');
  }

  function percent(logprob) {
    if (logprob === null) return '–';
    const share = 100 * Math.exp(logprob);
    if (share < 0.1) return '<0.1%';
    return `${share.toFixed(share < 10 ? 1 : 0)}%`;
  }

  const sized = (size) => size.charAt(0).toUpperCase() + size.slice(1);

  function memberName(name) {
    const [, behaviour, size] = /^(?:base|tuned\[([^[\]]+)\])\[([^[\]]+)\]$/.exec(name) || [];
    return size ? `${sized(size)} ${behaviour || 'base'}` : name;
  }

  // --- the formula

  // Weights of a column's members, null where one that is needed did not run.
  function weigh(column, terms) {
    const weights = new Array(column.head.members.length).fill(0);
    for (const [place, weight] of terms) {
      if (Math.abs(weight) < NEGLIGIBLE) continue;
      if (place === undefined || place === null) return null;
      weights[place] += weight;
    }
    return weights;
  }

  function scaled({ policy }) { return policy.finetune !== null && policy.finetune !== policy.pretrain; }

  // Places of the members in their roles. At one size the two bases are one member.
  function places({ head }) {
    const { base, small_base: small } = head.roles;
    const tuned = head.roles.tuned ?? {};
    return scaled(head) ? { base, small, tuned } : { base: base ?? small, small: small ?? base, tuned };
  }

  // A policy of the column's sizes with these weights: of all members (total) and of the small policy's (small).
  function mixOf(column, behaviours, beta) {
    const { policy } = column.head;
    const { base, small, tuned } = places(column);
    const terms = Object.entries(behaviours).map(([name, weight]) => [tuned[name], weight]);
    const rest = 1 - sum(Object.values(behaviours));
    const made = { behaviours, beta, filtered: false };
    if (policy.finetune === null) made.small = weigh(column, [[base, 1]]);
    else made.small = weigh(column, [...terms, [small, rest]]);
    made.total = made.small;
    if (!scaled(column.head)) return made;
    made.total = weigh(column, [...terms, [small, rest - beta], [base, beta]]);
    made.filtered = policy.nucleus !== null && beta > NEGLIGIBLE;
    if (made.filtered && [base, small].some((place) => place === undefined || place === null)) made.total = null;
    return made;
  }

  function sameBehaviours(one, two) {
    const names = [...Object.keys(one), ...Object.keys(two)];
    return names.every((name) => Math.abs((one[name] || 0) - (two[name] || 0)) < NEGLIGIBLE);
  }

  // Log-probabilities of token i's candidates under every member, null if they are not told.
  function candidateRows(column, i) { return (column.rows[i] ??= foundRows(column, i)); }

  function foundRows({ head, tokens }, i) {
    const rows = head.members.map((name) => tokens.candidate_logprobs?.[name]?.[i]);
    return tokens.candidates?.[i]?.length && rows.every(Boolean) ? rows : null;
  }

  function weighted(rows, weights) {
    const total = new Array(rows[0].length).fill(0);
    for (let m = 0; m < rows.length; m += 1) {
      const weight = weights[m];
      if (weight) for (let j = 0; j < total.length; j += 1) total[j] += weight * rows[m][j];
    }
    return total;
  }

  // What the policy of `mix` gives the candidates of token i, up to a constant.
  function scores(column, i, mix) {
    const rows = candidateRows(column, i);
    if (!rows || !mix.total) return null;
    if (!mix.filtered) return weighted(rows, mix.total);
    const found = smallLaw(column, rows, i, mix);
    const { base, small } = places(column);
    const shift = (j) => mix.beta * (rows[base][j] - rows[small][j]);
    return found && found.law.map((value, j) => value + (value >= found.edge ? shift(j) : 0));
  }

  // The small policy of a filtered mix, and the edge of its nucleus. Both are told for the weights that drew the text;
  // for other behaviour weights they are estimated: the mass outside of the candidates is taken as it was.
  function smallLaw(column, rows, i, mix) {
    const { own, tokens, head } = column;
    const logZ = at(tokens.log_z_small, i);
    const threshold = at(tokens.threshold, i);
    if (logZ === null || !mix.small || !own.small) return null;
    const raw = weighted(rows, mix.small);
    if (threshold !== null && sameBehaviours(mix.behaviours, own.behaviours)) {
      return { law: raw.map((value) => value - logZ), edge: threshold - ROUNDING };
    }
    const outside = 1 - sum(weighted(rows, own.small).map((value) => Math.exp(value - logZ)));
    const normaliser = logSumExp(outside > ROUNDING ? [...raw, Math.log(outside) + logZ] : raw);
    const law = raw.map((value) => value - normaliser);
    return { law, edge: edgeOf(law, head.policy.nucleus) };
  }

  // The smallest set of most probable tokens with mass >= p ends here.
  function edgeOf(law, p) {
    let mass = 0;
    if (p >= 1) return -Infinity;
    for (const value of [...law].sort((one, two) => two - one)) {
      mass += Math.exp(value);
      if (mass >= p) return value;
    }
    return -Infinity;
  }

  // Log-probabilities of token i's candidates under the policy (null) or the member at a place.
  function lawOf(column, i, place) {
    if (place !== null) return at(column.tokens.candidate_logprobs?.[column.head.members[place]], i);
    const found = scores(column, i, column.own);
    const logZ = at(column.tokens.log_z, i) ?? (found && logSumExp(found));
    return found && found.map((value) => value - logZ);
  }

  // The candidate that a mix makes the most probable.
  function topOf(column, i, mix) {
    const found = scores(column, i, mix);
    return found ? column.tokens.candidates[i][best(found)] : null;
  }

  function smallTopOf(column, i) {
    const rows = candidateRows(column, i);
    return rows && column.own.small ? column.tokens.candidates[i][best(weighted(rows, column.own.small))] : null;
  }

  function under({ head, tokens }, place, i) {
    return place === undefined || place === null ? null : at(tokens.logprob[head.members[place]], i);
  }

  function shiftOf(column, i) {
    const { own, tokens } = column;
    if (!scaled(column.head)) return 0;
    if (!own.small) return null;
    const add = (total, m) => plus(total, times(own.small[m], under(column, m, i)));
    const small = membersOf(own.small).reduce(add, 0);
    return minus(at(tokens.logprob.policy, i), minus(small, at(tokens.log_z_small, i)));
  }

  function times(weight, value) { return value === null ? null : weight * value; }

  // The deltas: as told, or at the weights of "What if".
  function finetuning(column, i) {
    const { mix, own, tokens } = column;
    if (mix === own) return at(tokens.finetuning, i);
    const { small, tuned } = places(column);
    const parts = Object.entries(mix.behaviours).filter(([, weight]) => Math.abs(weight) > NEGLIGIBLE);
    const delta = (name) => minus(under(column, tuned[name], i), under(column, small, i));
    return parts.reduce((total, [name, weight]) => plus(total, times(weight, delta(name))), 0);
  }

  function upscaling(column, i) {
    const { mix, own, tokens } = column;
    if (mix === own) return at(tokens.upscaling, i);
    const { base, small } = places(column);
    if (!scaled(column.head) || mix.beta < NEGLIGIBLE) return 0;
    return times(mix.beta, minus(under(column, base, i), under(column, small, i)));
  }

  // Why a measure is unknown here: the members that it needs and that did not run.
  function missing(column, needs) {
    const { policy } = column.head;
    const { base, small, tuned } = places(column);
    const behaviours = Object.entries(policy.behaviours || {}).filter(([, weight]) => Math.abs(weight) > NEGLIGIBLE);
    const rest = Math.abs(1 - sum(behaviours.map(([, weight]) => weight)));
    const absent = new Set();
    const need = (place, name) => { if (place === undefined || place === null) absent.add(name); };
    if (['small', 'tuned', 'all'].includes(needs)) {
      for (const [name] of behaviours) need(tuned[name], `tuned[${name}][${policy.finetune}]`);
    }
    const smallBase = ['tuned', 'bases', 'all'].includes(needs) || (needs === 'small' && rest > NEGLIGIBLE);
    if (policy.finetune !== null && smallBase) need(small, `base[${policy.finetune}]`);
    if (['base', 'bases', 'all'].includes(needs)) need(base, `base[${policy.pretrain}]`);
    return absent.size ? `${[...absent].join(' and ')} did not run here` : 'not recorded here';
  }

  // --- texts

  // Controls, and characters that only steer the direction or the joining of others.
  const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/u;
  const WHITE = new RegExp(`(\\r?\\n|\\t| {2,}| $|${HIDDEN.source})`, 'u');
  const WORD = /[\p{L}\p{N}]/u;

  // A text with its white space made visible. The characters stay, so that copying gives the text.
  function write(parent, text) {
    if (/^ [^ \t\n]/.test(text)) parent.dataset.space = '';
    for (const piece of text.split(WHITE)) {
      if (!piece) continue;
      if (/^\r?\n$/.test(piece)) node('span', 'strip-newline', parent, piece);
      else if (piece === '\t') node('span', 'strip-tab', parent, piece);
      else if (/^ +$/.test(piece) && (piece.length > 1 || text.endsWith(piece))) {
        node('span', 'strip-spaces', parent, piece).style.setProperty('--n', piece.length);
      } else if (HIDDEN.test(piece)) {
        const code = piece.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0');
        node('span', 'strip-hidden', parent, piece).dataset.name = `U+${code}`;
      } else parent.append(piece);
    }
  }

  function chip(column, id) {
    const special = column.special.get(id);
    if (special !== undefined) return { className: 'strip-special', text: special };
    const hex = column.bytes.get(id);
    if (hex !== undefined) return { className: 'strip-byte', text: `⟨${hex.toUpperCase()}⟩` };
    if (!column.texts.get(id)) return { className: 'strip-byte', text: `⟨${id}⟩` };
    return null;
  }

  // One token by itself, as lists show it.
  function writeToken(parent, column, id) {
    const made = chip(column, id);
    if (made) node('span', made.className, parent, made.text);
    else write(parent, column.texts.get(id));
  }

  // The same in one string, for sentences.
  function said(column, id) {
    const text = (chip(column, id) || { text: column.texts.get(id) }).text;
    return text.trim() || (text.includes('\n') ? 'newline' : 'space');
  }

  // What tokens say together; special tokens say nothing.
  function plain(column, ids) {
    let text = '';
    let bytes = [];
    const flush = () => {
      if (bytes.length) text += new TextDecoder().decode(new Uint8Array(bytes));
      bytes = [];
    };
    for (const id of ids) {
      if (column.bytes.has(id) && !column.special.has(id)) bytes.push(...unhex(column.bytes.get(id)));
      else {
        flush();
        if (!column.special.has(id)) text += column.texts.get(id) || '';
      }
    }
    flush();
    return text;
  }

  function unhex(hex) { return (hex.match(/../g) || []).map((pair) => Number.parseInt(pair, 16)); }

  // Whole characters, or null; with `more`, bytes that may become whole also count.
  function decoded(bytes, more) {
    try {
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(new Uint8Array(bytes), { stream: more });
    } catch {
      return null;
    }
  }

  // The whole characters that begin with token `from`, and where they end: one token's, or several byte tokens'.
  // No text: a chip. `open`: the bytes so far may still become whole.
  function characters(column, from) {
    const bytes = [];
    const first = column.tokens.ids[from];
    if (!column.bytes.has(first)) {
      return { to: from + 1, text: chip(column, first) ? undefined : column.texts.get(first) };
    }
    for (let to = from; to < column.tokens.ids.length; to += 1) {
      const id = column.tokens.ids[to];
      if (!column.bytes.has(id) || column.special.has(id)) return { to: from + 1 };
      bytes.push(...unhex(column.bytes.get(id)));
      const text = decoded(bytes, false);
      if (text !== null) return { to: to + 1, text };
      if (decoded(bytes, true) === null) return { to: from + 1 };
    }
    return { to: from + 1, open: true };
  }

  // --- a column's data

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

  function empty(column) {
    if (shown && shown.column === column) hide();
    Object.assign(column, { head: null, tokens: { ids: [], fates: '', logprob: {} }, groups: [], owner: [], open: 0 });
    Object.assign(column, { current: 0, own: null, mix: null, rows: [], tops: [], smallTops: [], would: [] });
    Object.assign(column, { texts: new Map(), bytes: new Map(), special: new Map(), words: new Map() });
    column.host.replaceChildren();
    delete column.host.dataset.known;
  }

  function append(column, chunk) {
    if (!column.head) {
      if (!chunk.policy) return;
      const { policy, formula, members, roles } = chunk;
      column.head = { policy, formula, members, roles: roles || {}, scale: chunk.scale || 0 };
      column.own = mixOf(column, policy.behaviours || {}, policy.amplification);
      column.mix = mixAsMoved(column);
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
    paint(column, build(column));
    soon();
  }

  // --- nodes of tokens

  // Makes the nodes of new tokens, and again those of bytes that may have become whole. Returns the first new group.
  function build(column) {
    const { groups, tokens } = column;
    let focused = false;
    while (groups.length && groups.at(-1).from >= column.open) focused = drop(column, groups.pop()) || focused;
    const first = groups.length;
    const made = document.createDocumentFragment();
    let open = tokens.ids.length;
    for (let i = column.open; i < tokens.ids.length;) {
      const whole = characters(column, i);
      if (whole.open) open = Math.min(open, i);
      groups.push(group(column, i, whole.to, whole.text ?? null, made));
      i = whole.to;
    }
    column.open = open;
    column.host.append(made);
    if (groups.length && (focused || !first)) turnTo(column, Math.min(column.current, tokens.ids.length - 1));
    if (focused) focusQuietly(groupAt(column, column.current).node);
    return first;
  }

  function drop(column, { node: span, word }) {
    const focused = span === document.activeElement;
    span.remove();
    if (word) column.words.get(word).pop();
    return focused;
  }

  // One span for tokens from..to - 1: one token, or those whose bytes make its characters.
  function group(column, from, to, text, parent) {
    const span = node('span', 'strip-token', parent);
    span.dataset.from = from;
    span.dataset.to = to;
    const id = column.tokens.ids[from];
    if (text === null) {
      const { className, text: name } = chip(column, id);
      span.classList.add(className);
      span.textContent = name;
    } else write(span, text);
    const fates = column.tokens.fates.slice(from, to);
    if (fates.includes('r')) span.dataset.fate = 'recovered';
    const word = text !== null && WORD.test(text) ? text.trim() : '';
    if (word) column.words.set(word, [...(column.words.get(word) || []), span]);
    for (let i = from; i < to; i += 1) column.owner[i] = column.groups.length;
    return { from, to, node: span, text: text ?? (column.special.has(id) ? '' : '\ufffd'), word };
  }

  function groupAt(column, i) { return column.groups[column.owner[i]]; }

  // --- colours

  function shareOf(value) {
    const { low, high } = MEASURES[measure];
    return Math.max(-1, Math.min(1, value / Math.max(-low, high)));
  }

  // The loudest of a group's tokens colours it.
  function loudest(column, { from, to }) {
    let found = null;
    for (let i = from; i < to; i += 1) {
      const value = MEASURES[measure].of(column, i);
      if (value !== null && (found === null || Math.abs(value) > Math.abs(found))) found = value;
    }
    return found;
  }

  function paint(column, first = 0) {
    let known = first > 0 && 'known' in column.host.dataset;
    for (let place = first; place < column.groups.length; place += 1) {
      const each = column.groups[place];
      const value = loudest(column, each);
      known = known || value !== null;
      heat(each, value === null ? null : shareOf(value));
      let would = false;
      for (let i = each.from; i < each.to; i += 1) would = would || column.would[i] !== null;
      if (would !== Boolean(each.would)) each.node.toggleAttribute('data-would', (each.would = would));
    }
    column.host.toggleAttribute('data-known', known && measure !== 'none');
  }

  function heat(each, share) {
    const sign = share === null ? 'unknown' : share > 0 ? 'up' : share < 0 ? 'down' : '';
    const size = share ? Math.abs(share).toFixed(3) : '';
    if (sign !== each.sign) {
      if (sign) each.node.dataset.sign = sign;
      else delete each.node.dataset.sign;
    }
    if (size !== each.size) {
      if (size) each.node.style.setProperty('--m', size);
      else each.node.style.removeProperty('--m');
    }
    each.sign = sign;
    each.size = size;
  }

  function paintAll() {
    for (const column of columns.values()) if (column.head) paint(column);
  }

  function setMeasure(name) {
    if (!Object.hasOwn(MEASURES, name)) throw new Error(`no measure is called ${name}`);
    measure = name;
    pick.value = name;
    setText(hint, MEASURES[name].hint);
    paintAll();
    soon();
  }

  // --- what if

  function behavioursOf(column) {
    const { policy, roles } = column.head;
    if (policy.finetune === null) return [];
    const ran = Object.keys(roles.tuned || {}).filter((name) => roles.tuned[name] !== null);
    return [...new Set([...Object.keys(policy.behaviours || {}), ...ran])];
  }

  // The column's mix with the moved sliders' weights; its own where they ask for members that did not run.
  function mixAsMoved(column) {
    const { own } = column;
    const behaviours = { ...own.behaviours };
    for (const name of behavioursOf(column)) {
      if (Object.hasOwn(whatIf.behaviours, name)) behaviours[name] = whatIf.behaviours[name];
    }
    const beta = scaled(column.head) && whatIf.beta !== null ? whatIf.beta : own.beta;
    if (sameBehaviours(behaviours, own.behaviours) && Math.abs(beta - own.beta) < NEGLIGIBLE) return own;
    const moved = mixOf(column, behaviours, beta);
    return moved.total ? moved : own;
  }

  // The candidate that would be the most probable instead, null where it is the same.
  function wouldBe(column, i) {
    if (column.mix === column.own) return null;
    const top = topOf(column, i, column.mix);
    return top === column.tops[i] ? null : top;
  }

  function reweigh() {
    for (const column of columns.values()) {
      if (!column.head) continue;
      column.mix = mixAsMoved(column);
      column.would = column.tokens.ids.map((_, i) => wouldBe(column, i));
    }
    if (moved() && !DELTAS.includes(measure)) {
      whatIf.before = measure;
      setMeasure('deltas');
    } else paintAll();
    if (shown) fill();
    refresh();
  }

  function moved() { return whatIf.beta !== null || Object.keys(whatIf.behaviours).length > 0; }

  function resetWeights() {
    Object.assign(whatIf, { behaviours: {}, beta: null });
    if (whatIf.before) setMeasure(whatIf.before);
    whatIf.before = null;
    sliders.dataset.of = ''; // they are made anew, at their starts
    reweigh();
  }

  // --- one frame gathers what many calls ask for

  let reweighing = false;

  function soon(weights = false) {
    reweighing = reweighing || weights;
    if (frame) return;
    frame = requestAnimationFrame(() => {
      frame = 0;
      const due = reweighing;
      reweighing = false;
      if (due) reweigh();
      else refresh();
    });
  }

  function refresh() {
    const told = ordered();
    tools.hidden = !told.length;
    drawLegend(told);
    drawSliders(told);
    drawWhatIf(told);
    drawShifts(told);
  }

  // Columns that have tokens, as they stand on the page.
  function ordered() {
    const told = [...columns.values()].filter((column) => column.groups.length);
    const after = (one, two) => one.host.compareDocumentPosition(two.host) & Node.DOCUMENT_POSITION_PRECEDING;
    return told.sort((one, two) => (after(one, two) ? 1 : -1));
  }

  // --- the toolbar

  tools.classList.add('strip-tools');
  tools.hidden = true;
  const bar = node('div', 'strip-bar', tools);
  const picker = node('label', 'strip-picker', bar, 'Colour ');
  const pick = node('select', '', picker);
  for (const [name, { title }] of Object.entries(MEASURES)) node('option', '', pick, title).value = name;
  const legend = node('span', 'strip-legend', bar);
  const details = node('details', 'strip-whatif', tools);
  node('summary', '', details, 'What if');
  const hint = node('p', 'strip-hint', null, MEASURES[measure].hint);
  bar.after(hint);
  const sliders = node('div', 'strip-sliders', details);
  const outcome = node('p', 'strip-outcome', details);
  const runs = node('div', 'strip-runs', details);
  pick.addEventListener('change', () => {
    whatIf.before = null;
    setMeasure(pick.value);
  });

  function drawLegend(told) {
    const { low, high, unit } = MEASURES[measure];
    const marks = [];
    const hatched = ({ host, groups }) => 'known' in host.dataset && groups.some(({ sign }) => sign === 'unknown');
    if (told.some(({ tokens }) => tokens.fates.includes('r'))) marks.push(['recovered', 'recovered']);
    if (told.some(({ would }) => would.some((id) => id !== null))) marks.push(['would', 'top would change']);
    if (told.some(hatched)) marks.push(['unknown', 'unknown']);
    const state = JSON.stringify([measure, marks]);
    if (legend.dataset.of === state) return;
    legend.dataset.of = state;
    legend.replaceChildren();
    for (let step = 0; high > low && step < 5; step += 1) {
      const value = low + (step * (high - low)) / 4;
      const swatch = node('span', 'strip-swatch', legend, String(value).replace('-', '−'));
      heat({ node: swatch }, shareOf(value));
    }
    if (unit) node('span', 'strip-unit', legend, unit);
    for (const [mark, text] of marks) node('span', 'strip-key', legend, text).dataset.mark = mark;
  }

  function drawSliders(told) {
    const start = {};
    for (const column of [...told].sort((one, two) => emulated(two) - emulated(one))) {
      for (const name of behavioursOf(column)) start[name] ??= column.own.behaviours[name] ?? 0;
    }
    const beta = told.filter(({ head }) => scaled(head)).map(({ own }) => own.beta)[0];
    const state = JSON.stringify([start, beta]);
    details.hidden = !Object.keys(start).length && beta === undefined;
    if (sliders.dataset.of === state) return;
    sliders.dataset.of = state;
    sliders.replaceChildren();
    for (const [name, weight] of Object.entries(start)) {
      slider(name, 'Weight λ of its fine-tuning delta', whatIf.behaviours[name] ?? weight, name);
    }
    if (beta !== undefined) slider('β', 'Weight of the up-scaling delta', whatIf.beta ?? beta, null);
    button('strip-reset', sliders, 'Reset', 'reset');
  }

  function slider(title, explained, value, behaviour) {
    const label = node('label', 'strip-slider', sliders);
    label.title = explained;
    node('span', '', label, title);
    const range = node('input', '', label);
    Object.assign(range, { type: 'range', min: 0, max: 2, step: 0.05, value });
    const shownValue = node('output', '', label, number(value));
    range.addEventListener('input', () => {
      if (behaviour === null) whatIf.beta = Number(range.value);
      else whatIf.behaviours[behaviour] = Number(range.value);
      setText(shownValue, number(Number(range.value)));
      soon(true);
    });
  }

  // A policy that is no single member: the sum is taken while decoding.
  function emulated({ own, head }) {
    return scaled(head) || membersOf(own.total).length > 1;
  }

  function drawWhatIf(told) {
    const changed = told.filter(({ mix, own }) => mix !== own);
    const lines = changed.map((column) => {
      const count = column.would.filter((id) => id !== null).length;
      return `${naming(changed, column)}top candidate would change at ${count} of ${column.would.length} tokens`;
    });
    const still = moved() ? 'Nothing changes, or the members that this needs did not run.' : IDLE;
    setText(outcome, lines.join('; ') || still);
    sliders.querySelector('.strip-reset')?.toggleAttribute('disabled', !moved());
    if (onRegenerate) drawRuns(told.filter(emulated));
  }

  // Whose sentence it is, where there are several.
  function naming(several, { label }) { return several.length > 1 ? `${label}: ` : ''; }

  function drawRuns(able) {
    const state = JSON.stringify(able.map(({ key, label }) => [key, label]));
    if (runs.dataset.of !== state) {
      runs.dataset.of = state;
      runs.replaceChildren();
      for (const { label } of able) {
        const whose = able.length > 1 ? `${label} ` : '';
        button('strip-run', runs, `Run ${whose}with these weights`, 'regenerate');
      }
    }
    able.forEach((column, place) => {
      runs.children[place].disabled = !moved();
      runs.children[place].onclick = () => onRegenerate({ key: column.key, ...asMoved(column) });
    });
  }

  // The weights to run with, whether or not the members that ran here could tell their outcome.
  function asMoved(column) {
    const behaviours = { ...column.own.behaviours };
    for (const [name, weight] of Object.entries(whatIf.behaviours)) {
      if (behavioursOf(column).includes(name)) behaviours[name] = weight;
    }
    return { behaviours, beta: scaled(column.head) && whatIf.beta !== null ? whatIf.beta : column.own.beta };
  }

  details.addEventListener('click', (event) => {
    if (event.target.closest('[data-act=reset]')) resetWeights();
  });

  // --- what changed, and the biggest shifts

  shifts.classList.add('strip-shifts');

  function changedCount({ tops, smallTops }) {
    return tops.filter((id, i) => id !== null && smallTops[i] !== null && id !== smallTops[i]).length;
  }

  // As the paper ranks them: by total variation between the policy and the small policy.
  function biggest(told) {
    const found = [];
    for (const column of told.filter(({ head }) => scaled(head))) {
      const { tokens } = column;
      tokens.ids.forEach((_, i) => {
        const far = at(tokens.total_variation?.small, i);
        if (far >= 0.1 && at(tokens.promoted?.shift, i) !== null) found.push({ column, i, far });
      });
    }
    return found.sort((one, two) => two.far - one.far).slice(0, 5);
  }

  // "Nairobi" ▲ 7.1 over "Lusaka" ▼ 6.4
  function writeMove(parent, column, i) {
    const { promoted, demoted } = column.tokens;
    quote(parent, column, promoted.ids[i]);
    parent.append(` ▲ ${number(Math.abs(promoted.shift[i]), 1)} over `);
    quote(parent, column, demoted.ids[i]);
    parent.append(` ▼ ${number(Math.abs(demoted.shift[i]), 1)}`);
  }

  // A token in a sentence, whose direction it must not turn.
  function quote(parent, column, id) {
    const text = said(column, id);
    parent.append('"');
    node('bdi', '', parent, text.length > 40 ? `${text.slice(0, 40)}…` : text);
    parent.append('"');
  }

  function drawShifts(told) {
    const apart = told.filter(({ head, smallTops }) => scaled(head) && smallTops.some((id) => id !== null));
    const counts = apart.map((column) => {
      return `${naming(apart, column)}${changedCount(column)} of ${column.tops.length} tokens changed`;
    });
    const found = biggest(told);
    const what = found.map(({ column, i }) => [column.key, column.label, i, column.tokens.promoted.ids[i]]);
    jumps = found;
    shifts.hidden = !counts.length;
    const state = JSON.stringify([counts, what]);
    if (shifts.dataset.of === state) return;
    shifts.dataset.of = state;
    shifts.replaceChildren();
    for (const count of counts) node('span', 'strip-changed', shifts, count);
    if (found.length) node('span', 'strip-most', shifts, 'most:');
    for (const { column, i } of found) {
      writeMove(button('strip-jump', shifts, naming(apart, column), 'jump'), column, i);
    }
  }

  shifts.addEventListener('click', (event) => {
    const target = event.target.closest('[data-act=jump]');
    const place = target ? [...shifts.querySelectorAll('[data-act=jump]')].indexOf(target) : -1;
    if (jumps[place]) select(jumps[place].column, jumps[place].i);
  });

  // --- the same word in all columns

  function echo(word) {
    for (const each of layer.querySelectorAll('.strip-echo')) each.classList.remove('strip-echo');
    if (!word) return;
    for (const { words } of columns.values()) {
      for (const span of words.get(word) || []) span.classList.add('strip-echo');
    }
  }

  // --- walking

  const spoken = node('span', 'strip-live', live);
  spoken.setAttribute('aria-live', 'polite');

  // Exactly one token of a strip is a tab stop, and only that one is told as a button: the rest reads as text.
  function turnTo(column, index) {
    column.current = index;
    const { node: span } = groupAt(column, index);
    if (span === column.stop) return;
    for (const name of ['tabindex', 'role', 'aria-haspopup', 'aria-expanded']) column.stop?.removeAttribute(name);
    column.stop = span;
    span.tabIndex = 0;
    span.setAttribute('role', 'button');
    span.setAttribute('aria-haspopup', 'dialog');
    span.setAttribute('aria-expanded', 'false');
  }

  function focusQuietly(span) {
    silent = true;
    span.focus();
    silent = false;
  }

  function select(column, index, { focus = true, open = true } = {}) {
    turnTo(column, Math.max(0, Math.min(index, column.tokens.ids.length - 1)));
    const { node: span, word } = groupAt(column, column.current);
    if (focus) {
      focusQuietly(span);
      announce(column, column.current);
    }
    span.scrollIntoView({ block: 'nearest', inline: 'nearest' });
    echo(word);
    if (open && !pinned) show(column, column.current);
  }

  function announce(column, i) {
    const { tokens } = column;
    const value = MEASURES[measure].of(column, i);
    const facts = [said(column, tokens.ids[i]), `token ${i + 1} of ${tokens.ids.length}`];
    const { title } = MEASURES[measure];
    if (value !== null && measure !== 'logprob') facts.push(`${title.toLowerCase()} ${value.toFixed(2)}`);
    const logprob = at(tokens.logprob.policy, i);
    if (logprob !== null) facts.push(`log-probability ${logprob.toFixed(2)}`);
    if (at(tokens.rank?.policy, i)) facts.push(`rank ${tokens.rank.policy[i]}`);
    setText(spoken, facts.join(', '));
  }

  function neighbour(column, step) {
    const told = ordered();
    return told[told.indexOf(column) + step] || column;
  }

  function walk(column, key) {
    const last = column.tokens.ids.length - 1;
    const onward = getComputedStyle(column.host).direction === 'rtl' ? -1 : 1;
    if (key === 'ArrowRight') select(column, column.current + onward);
    else if (key === 'ArrowLeft') select(column, column.current - onward);
    else if (key === 'Home') select(column, 0);
    else if (key === 'End') select(column, last);
    else if (key === 'ArrowUp') select(neighbour(column, -1), column.current);
    else if (key === 'ArrowDown') select(neighbour(column, 1), column.current);
    else return false;
    return true;
  }

  function listen(column) {
    const { host } = column;
    const on = (type, react) => host.addEventListener(type, (event) => {
      const span = event.target.closest('.strip-token');
      if (span) react(event, column.groups[column.owner[Number(span.dataset.from)]]);
    }, { signal: column.life.signal });
    const within = ({ from, to }) => (column.current >= from && column.current < to ? column.current : from);
    const told = ({ node: span }) => shown && groupAt(shown.column, shown.index).node === span;
    on('pointerover', (event, each) => {
      if (event.pointerType === 'touch') return;
      echo(each.word);
      later(OPEN_AFTER, () => { if (!pinned && !told(each)) show(column, each.from); });
    });
    on('pointerout', (event) => { if (event.pointerType !== 'touch') leave(); });
    on('click', (event, each) => { if (getSelection().isCollapsed) select(column, within(each)); });
    on('focusin', (event, each) => { if (!silent) select(column, within(each)); });
    on('focusout', () => setTimeout(rest, 0));
    on('keydown', (event) => {
      if (event.altKey || event.ctrlKey || event.metaKey) return;
      if (event.key === 'Enter' || event.key === ' ') pin(column);
      else if (!walk(column, event.key)) return;
      event.preventDefault();
    });
  }

  // --- the popover

  const popover = node('div', 'strip-popover', layer);
  popover.setAttribute('role', 'dialog');
  popover.hidden = true;

  function later(after, act) {
    clearTimeout(timer);
    timer = setTimeout(act, after);
  }

  function leave() {
    later(CLOSE_AFTER, () => {
      echo('');
      rest();
    });
  }

  // What stays when the pointer or the focus has left: the pinned token, or the focused one.
  function rest() {
    if (pinned || !shown) return;
    const focused = document.activeElement;
    if (popover.contains(focused) || popover.matches(':hover')) return;
    const column = [...columns.values()].find(({ host }) => host.contains(focused));
    if (!column) hide();
    else if (shown.column !== column || shown.index !== column.current) show(column, column.current);
  }

  function show(column, index) {
    clearTimeout(timer);
    unmark();
    shown = { column, index };
    const { node: span } = groupAt(column, index);
    span.classList.add('strip-shown');
    if (span === column.stop) span.setAttribute('aria-expanded', 'true');
    fill();
  }

  function unmark() {
    if (!shown) return;
    for (const each of shown.column.host.querySelectorAll('.strip-shown')) each.classList.remove('strip-shown');
    shown.column.stop?.setAttribute('aria-expanded', 'false');
  }

  function hide() {
    clearTimeout(timer);
    unmark();
    shown = null;
    pinned = false;
    echo('');
    popover.hidden = true;
  }

  // Enter pins the token that has the focus, and goes into the popover.
  function pin(column) {
    pinned = true;
    show(column, column.current);
    popover.querySelector('[data-act=pin]').focus({ preventScroll: true });
  }

  function close() {
    const inside = popover.contains(document.activeElement);
    const { column, index } = shown;
    hide();
    if (!inside) return;
    turnTo(column, index);
    focusQuietly(column.stop);
  }

  function fill() {
    const { column, index } = shown;
    const act = popover.contains(document.activeElement) ? document.activeElement.dataset.act : '';
    popover.replaceChildren();
    popover.toggleAttribute('data-pinned', pinned);
    popover.setAttribute('aria-label', `Token ${index + 1} of ${column.tokens.ids.length}, ${column.label}`);
    drawHead(column, index);
    drawMeasures(column, index);
    drawLaws(column, index);
    drawLists(column, index);
    popover.hidden = false;
    if (act) popover.querySelector(`[data-act=${act}]`)?.focus({ preventScroll: true });
    place();
  }

  function drawHead(column, i) {
    const head = node('div', 'strip-head', popover);
    const word = node('strong', 'strip-word', head);
    word.dir = 'auto';
    const { from, to, text } = groupAt(column, i);
    if (to > from + 1) write(word, text);
    writeToken(to > from + 1 ? node('span', 'strip-part', head) : word, column, column.tokens.ids[i]);
    const part = to > from + 1 ? `, ${i - from + 1} of its ${to - from}` : '';
    node('span', 'strip-place', head, `${i + 1} of ${column.tokens.ids.length}${part}`);
    const acts = node('span', 'strip-acts', head);
    const walker = (sign, act, name, able) => {
      const made = button('', acts, sign, act);
      made.setAttribute('aria-label', name);
      made.disabled = !able;
    };
    walker('‹', 'back', 'Previous token', i > 0);
    walker('›', 'on', 'Next token', i < column.tokens.ids.length - 1);
    button('', acts, pinned ? 'Unpin' : 'Pin', 'pin').setAttribute('aria-pressed', String(pinned));
    button('', acts, '×', 'close').setAttribute('aria-label', 'Close');
    node('p', 'strip-fate', popover, FATES[column.tokens.fates[i]] || '');
  }

  // The chosen measure, then the sum: what fine-tuning and what up-scaling add.
  function drawMeasures(column, i) {
    const notes = node('p', 'strip-notes', popover);
    if (measure !== 'none') {
      const { title, needs, of, unit } = MEASURES[measure];
      const value = of(column, i);
      const told = value === null ? missing(column, needs) : `${number(value)} ${unit}`;
      node('span', 'strip-chosen', notes, `${title}: ${told}`);
    }
    const parts = ['finetuning', 'upscaling', 'deltas'].map((name) => MEASURES[name].of(column, i));
    const [tuned, scale, both] = parts.map((value) => number(value));
    const weights = column.mix === column.own ? '' : ' at these weights';
    if (column.head.policy.finetune !== null) {
      const deltas = `fine-tuning delta ${tuned}, up-scaling delta ${scale}, both ${both}${weights}`;
      const line = node('span', '', notes, deltas);
      if (parts[2] === null) line.title = missing(column, 'all');
    }
    if (at(column.tokens.promoted?.shift, i) !== null) {
      writeMove(node('span', '', notes, 'most promoted and demoted: '), column, i);
    }
    if (column.would[i] !== null) {
      const would = node('span', 'strip-would', notes, 'would be «');
      node('bdi', '', would, said(column, column.would[i]));
      would.append('» at these weights');
    }
  }

  // The token under the policy, the small policy and every member, and how far the policy is from each.
  function drawLaws(column, i) {
    const { tokens, head } = column;
    const table = node('table', 'strip-laws', popover);
    const titles = node('tr', '', node('thead', '', table));
    for (const [title, explained] of LAWS) {
      const cell = node('th', '', titles, title);
      cell.scope = 'col';
      cell.title = explained;
    }
    const body = node('tbody', '', table);
    const policy = at(tokens.logprob.policy, i);
    const row = (name, logprob, view) => {
      const made = node('tr', '', body);
      node('th', '', made, name).scope = 'row';
      const rank = view && at(tokens.rank?.[view], i);
      const cells = [number(logprob), rank ? String(rank) : '–', number(view ? at(tokens.entropy?.[view], i) : null)];
      const distances = [tokens.total_variation, tokens.divergence].map((each) => number(at(each?.[view], i)));
      if (view === 'policy') cells.push('', '', '');
      else cells.push(...distances, number(minus(policy, logprob)));
      for (const cell of cells) node('td', '', made, cell);
    };
    row('Policy', policy, 'policy');
    const used = membersOf(column.own.small);
    const alone = used.length === 1 ? used[0] : -1;
    if (scaled(head) && alone < 0) row('Small policy', minus(policy, shiftOf(column, i)), 'small');
    const views = { [places(column).base ?? -1]: 'base', ...(scaled(head) && alone >= 0 ? { [alone]: 'small' } : {}) };
    for (const m of othersOf(column)) row(memberName(head.members[m]), under(column, m, i), views[m]);
  }

  function membersOf(weights) {
    return (weights || []).flatMap((weight, m) => (Math.abs(weight) > NEGLIGIBLE ? [m] : []));
  }

  // The members beside the policy; the one that is the policy itself would only repeat it.
  function othersOf(column) {
    const { head, own } = column;
    const used = membersOf(own.total);
    const itself = used.length === 1 && !own.filtered ? used[0] : -1;
    const { base, small, tuned } = places(column);
    const order = [base, ...Object.values(tuned), small, ...head.members.keys()];
    return [...new Set(order)].filter((m) => m !== undefined && m !== null && m !== itself);
  }

  function drawLists(column, i) {
    if (!candidateRows(column, i)) return;
    const lists = node('div', 'strip-lists', popover);
    for (const place of [null, ...othersOf(column)]) {
      const law = lawOf(column, i, place);
      if (!law) continue;
      const name = place === null ? 'Policy' : memberName(column.head.members[place]);
      const section = node('section', 'strip-list', lists);
      node('h3', '', section, name);
      const drawn = place === null ? at(column.tokens.logprob.policy, i) : under(column, place, i);
      drawRows(node('ol', '', section), column, i, law, drawn);
    }
  }

  function drawRows(list, column, i, law, drawn) {
    const ids = column.tokens.candidates[i];
    const token = column.tokens.ids[i];
    const order = ids.map((_, j) => j).sort((one, two) => law[two] - law[one]).slice(0, TOP);
    for (const j of order) candidate(list, column, i, ids[j], law[j]);
    if (drawn === null || order.some((j) => ids[j] === token)) return;
    candidate(list, column, i, token, drawn).dataset.outside = ''; // the drawn token, from further down
  }

  function candidate(list, column, i, id, logprob) {
    const item = node('li', '', list);
    const may = onBranch && (!branchable || branchable(column.key));
    const row = may ? button('strip-row', item, '', 'branch') : node('div', 'strip-row', item);
    row.dataset.id = id;
    if (logprob > Math.log(0.005)) row.style.setProperty('--p', Math.exp(logprob).toFixed(4));
    const text = node('span', 'strip-word', row);
    text.dir = 'auto';
    writeToken(text, column, id);
    node('span', 'strip-chance', row, percent(logprob));
    if (id === column.tokens.ids[i]) row.dataset.drawn = '';
    if (may) row.setAttribute('aria-label', `${said(column, id)}, ${percent(logprob)}, branch here`);
    if (may) row.title = 'branch here';
    return row;
  }

  function branch(id) {
    const { column, index } = shown;
    const tokens = [...column.tokens.ids.slice(0, index), id];
    onBranch({ key: column.key, tokens, text: plain(column, tokens) });
  }

  // Near the token, and never off the screen; narrow screens have it as a sheet at the bottom, by the style sheet.
  function place() {
    popover.style.cssText = '';
    if (!shown || matchMedia('(max-width: 640px)').matches) return;
    const boxes = [...groupAt(shown.column, shown.index).node.getClientRects()]; // of its lines: the longest counts
    const anchor = boxes.reduce((most, each) => (each.width > most.width ? each : most));
    const frameBox = layer.getBoundingClientRect();
    const width = document.documentElement.clientWidth;
    const room = { below: innerHeight - anchor.bottom - 12, above: anchor.top - 12 };
    const box = popover.getBoundingClientRect();
    const below = box.height <= room.below || room.below >= room.above;
    const height = Math.min(box.height, Math.max(below ? room.below : room.above, 160));
    const left = Math.max(8, Math.min(anchor.left - 16, width - box.width - 8));
    const top = below ? anchor.bottom + 4 : anchor.top - 4 - height;
    popover.style.maxHeight = `${height}px`;
    popover.style.left = `${left - frameBox.left - layer.clientLeft}px`;
    popover.style.top = `${top - frameBox.top - layer.clientTop}px`;
  }

  const acts = {
    back() { turnAndShow(-1); },
    on() { turnAndShow(1); },
    pin() {
      pinned = !pinned;
      fill();
    },
    close,
    branch(target) { branch(Number(target.dataset.id)); },
  };

  function turnAndShow(step) {
    const { column, index } = shown;
    turnTo(column, index + step);
    show(column, index + step);
  }

  function same(target) {
    const row = target.closest('.strip-row');
    for (const each of popover.querySelectorAll('.strip-row')) {
      each.toggleAttribute('data-same', Boolean(row) && each.dataset.id === row.dataset.id);
    }
  }

  popover.addEventListener('click', (event) => {
    const target = event.target.closest('button[data-act]');
    if (target) acts[target.dataset.act](target);
  });
  popover.addEventListener('pointerover', (event) => {
    clearTimeout(timer);
    same(event.target);
  });
  popover.addEventListener('pointerleave', leave);
  popover.addEventListener('focusin', (event) => same(event.target));
  popover.addEventListener('focusout', () => setTimeout(rest, 0));

  // The page's own events; they end with this component, for a remounted one brings its own.
  const life = new AbortController();
  function onPage(target, type, react) {
    const guarded = (event) => (layer.isConnected ? react(event) : life.abort());
    target.addEventListener(type, guarded, { signal: life.signal, capture: true });
  }
  onPage(document, 'keydown', (event) => {
    if (event.key !== 'Escape' || !shown) return;
    event.stopPropagation();
    close();
  });
  onPage(document, 'pointerdown', (event) => {
    if (shown && !pinned && !popover.contains(event.target) && !event.target.closest?.('.strip-token')) hide();
  });
  onPage(window, 'resize', () => { if (shown) place(); });

  // --- what others may call

  function describe(column, { label, role } = {}) {
    if (label !== undefined) column.label = label;
    if (role !== undefined) column.role = role;
    column.host.setAttribute('aria-label', `Tokens of ${column.label}`);
    if (column.role) column.host.dataset.role = column.role;
    soon();
  }

  function remove(column) {
    empty(column);
    column.life.abort();
    column.host.classList.remove('strip');
    columns.delete(column.key);
    soon();
  }

  function face(column) {
    return {
      append: (chunk) => append(column, chunk),
      clear() {
        empty(column);
        soon();
      },
      remove: () => remove(column),
      get length() { return column.tokens.ids.length; },
      get text() { return column.groups.map(({ text }) => text).join(''); },
    };
  }

  return {
    column(key, host, about) {
      const known = columns.get(key);
      if (known && known.host !== host) remove(known);
      if (!columns.has(key)) {
        const made = { key, host, label: String(key), role: '', life: new AbortController() };
        columns.set(key, Object.assign(made, { face: face(made) }));
        host.classList.add('strip');
        host.dir = 'auto';
        host.setAttribute('role', 'group');
        empty(made);
        listen(made);
      }
      describe(columns.get(key), about);
      return columns.get(key).face;
    },
    relabel(key, about) {
      if (columns.has(key)) describe(columns.get(key), about);
    },
    select(key, index, how) {
      const column = columns.get(key);
      if (column?.groups.length) select(column, index, how);
    },
    get measure() { return measure; },
    set measure(name) { setMeasure(name); },
    get measures() {
      return Object.entries(MEASURES).map(([name, { title, low, high, unit }]) => ({ name, title, low, high, unit }));
    },
  };
}
