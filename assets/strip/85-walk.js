// Walking: one token of a strip is a tab stop, arrows lead on, and what is reached is said and shown.

// Only the token in turn is told as a button: the rest reads as text.
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

// A focus that must not open the popover.
function focusQuietly(page, span) {
  page.silent = true;
  span.focus();
  page.silent = false;
}

function select(page, column, index, { focus = true, open = true } = {}) {
  turnTo(column, clamp(index, 0, column.tokens.ids.length - 1));
  const { node: span, word } = groupAt(column, column.current);
  if (focus) {
    focusQuietly(page, span);
    announce(page, column, column.current);
  }
  span.scrollIntoView({ block: 'nearest', inline: 'nearest' });
  echo(page, word);
  if (open && !page.pinned) show(page, column, column.current);
}

// "Nairobi, token 9 of 25, total variation 0.86, log-probability -0.02, rank 1"
function announce({ spoken, measure }, column, i) {
  const { tokens } = column;
  const { title, of } = MEASURES[measure];
  const value = of(column, i);
  const facts = [said(column, tokens.ids[i]), `token ${i + 1} of ${tokens.ids.length}`];
  if (value !== null && measure !== 'logprob') facts.push(`${title.toLowerCase()} ${value.toFixed(2)}`);
  const logprob = at(tokens.logprob.policy, i);
  if (logprob !== null) facts.push(`log-probability ${logprob.toFixed(2)}`);
  if (at(tokens.rank?.policy, i)) facts.push(`rank ${tokens.rank.policy[i]}`);
  setText(spoken, facts.join(', '));
}

// The same word in all columns is outlined.
function echo(page, word) {
  for (const each of page.echoed) each.classList.remove('strip-echo');
  page.echoed = word ? [...page.columns.values()].flatMap(({ words }) => words.get(word) || []) : [];
  for (const each of page.echoed) each.classList.add('strip-echo');
}

function walk(page, column, key) {
  const onward = getComputedStyle(column.host).direction === 'rtl' ? -1 : 1;
  const told = ordered(page);
  const beside = (step) => told[told.indexOf(column) + step] || column;
  const ways = {
    ArrowRight: () => [column, column.current + onward],
    ArrowLeft: () => [column, column.current - onward],
    Home: () => [column, 0],
    End: () => [column, Infinity],
    ArrowUp: () => [beside(-1), column.current],
    ArrowDown: () => [beside(1), column.current],
  };
  if (!Object.hasOwn(ways, key)) return false;
  select(page, ...ways[key]());
  return true;
}

// One listener for all tokens of a column.
function listen(page, column) {
  const on = (type, react) => column.host.addEventListener(type, (event) => {
    const span = event.target.closest('.strip-token');
    if (span) react(event, groupAt(column, Number(span.dataset.from)));
  }, { signal: column.life.signal });
  const within = ({ from, to }) => (column.current >= from && column.current < to ? column.current : from);
  on('pointerover', (event, each) => {
    if (event.pointerType === 'touch') return;
    echo(page, each.word);
    later(page, OPEN_AFTER, () => { if (!page.pinned && page.lit !== each.node) show(page, column, each.from); });
  });
  on('pointerout', (event) => { if (event.pointerType !== 'touch') leave(page); });
  on('click', (event, each) => { if (getSelection().isCollapsed) select(page, column, within(each)); });
  on('focusin', (event, each) => { if (!page.silent) select(page, column, within(each)); });
  on('focusout', () => setTimeout(rest, 0, page));
  on('keydown', (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === 'Enter' || event.key === ' ') pin(page, column);
    else if (!walk(page, column, event.key)) return;
    event.preventDefault();
  });
}
