// The nodes of tokens. A group is one span: a token, or the tokens whose bytes make its characters. Groups stand in
// blocks, inline spans that a text flows through, so that what is out of sight can wait for its colours.

const BLOCK = 100; // groups of a block
const MARGIN = '200px 0px'; // what is as near as this counts as in sight

function groupAt(column, i) { return column.groups[column.owner[i]]; }

// Makes the nodes of new tokens, and again those of bytes that may have become whole. True if the focus was on these.
function build(column) {
  const { groups, blocks, tokens } = column;
  let focused = false;
  while (groups.length && groups.at(-1).from >= column.open) focused = drop(column, groups.pop()) || focused;
  let open = tokens.ids.length;
  for (let i = column.open; i < tokens.ids.length;) {
    const whole = characters(column, i);
    if (whole.open) open = Math.min(open, i);
    groups.push(group(column, i, whole.to, whole.text ?? null));
    i = whole.to;
  }
  column.open = open;
  while (blocks.length && !blocks.at(-1).node.hasChildNodes()) unblock(column, blocks.pop());
  return focused;
}

function drop(column, { node: span, word }) {
  const focused = span === document.activeElement;
  span.remove();
  if (word) column.words.get(word).pop();
  return focused;
}

function group(column, from, to, text) {
  const place = column.groups.length;
  const span = node('span', 'strip-token', blockOf(column, place).node);
  span.dataset.from = from;
  span.dataset.to = to;
  const id = column.tokens.ids[from];
  if (text === null) {
    const { className, text: name } = chip(column, id);
    span.classList.add(className);
    span.textContent = name;
  } else write(span, text);
  if (column.tokens.fates.slice(from, to).includes('r')) span.dataset.fate = 'recovered';
  const word = text !== null && WORD.test(text) ? text.trim() : '';
  if (word && !column.words.get(word)?.push(span)) column.words.set(word, [span]);
  for (let i = from; i < to; i += 1) column.owner[i] = place;
  return { from, to, node: span, text: text ?? (column.special.has(id) ? '' : '\ufffd'), word };
}

function blockOf(column, place) {
  const known = column.blocks[Math.floor(place / BLOCK)];
  if (known) return known;
  const made = { node: node('span', 'strip-block', column.host), near: true, stale: true };
  column.blocks.push(made);
  column.watch.observe(made.node);
  return made;
}

function unblock(column, block) {
  column.watch.unobserve(block.node);
  block.node.remove();
}

// Tells a column's blocks whether they are in sight; those that come into it with old colours are painted.
function watchOf(page, column) {
  return new IntersectionObserver((seen) => {
    for (const { target, isIntersecting } of seen) {
      const block = column.blocks.find(({ node: each }) => each === target);
      if (!block) continue;
      block.near = isIntersecting;
      if (block.near && block.stale) paintBlock(page, column, block);
    }
  }, { rootMargin: MARGIN });
}
