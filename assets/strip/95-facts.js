// The inside of the popover.

const TOP = 10; // rows of a list
const VISIBLE = Math.log(0.005); // a bar of less than this is none
const FATES = {
  p: 'drawn from the policy', a: 'drafted and accepted', r: 'recovered: the draft had proposed another',
  b: 'bonus: drawn after a whole accepted draft', g: 'given, not drawn',
};
// Titles of the table.
const LAWS = [
  ['', ''], ['log p', 'log-probability of the token'], ['rank', 'place of the token, 1 the most probable'],
  ['entropy', 'how open the choice is, in nats'], ['TV', 'total variation between the policy and this'],
  ['KL', 'KL(policy ‖ this), in nats'], ['shift', 'log policy − log of this, of the token'],
];

function fill(page) {
  const { popover, shown: { column, index }, pinned } = page;
  const focused = document.activeElement;
  const act = popover.contains(focused) ? focused.dataset.does : '';
  popover.replaceChildren();
  popover.toggleAttribute('data-pinned', pinned);
  popover.setAttribute('aria-label', `Token ${index + 1} of ${column.tokens.ids.length}, ${column.label}`);
  drawHead(page, column, index);
  drawMeasures(page, column, index);
  drawLaws(page, column, index);
  drawLists(page, column, index);
  popover.hidden = false;
  if (act) popover.querySelector(`[data-does=${act}]`)?.focus({ preventScroll: true });
  settle(page);
}

function drawHead({ popover, pinned }, column, i) {
  const { tokens } = column;
  const head = node('div', 'strip-head', popover);
  const word = node('strong', 'strip-word', head);
  word.dir = 'auto';
  const { from, to, text } = groupAt(column, i);
  const joined = to > from + 1;
  if (joined) write(word, text);
  writeToken(joined ? node('span', 'strip-part', head) : word, column, tokens.ids[i]);
  const part = joined ? `, ${i - from + 1} of its ${to - from}` : '';
  node('span', 'strip-place', head, `${i + 1} of ${tokens.ids.length}${part}`);
  const acts = node('span', 'strip-acts', head);
  const walker = (sign, act, name, able) => {
    const made = button('', acts, sign, act);
    made.setAttribute('aria-label', name);
    made.disabled = !able;
  };
  walker('‹', 'back', 'Previous token', i > 0);
  walker('›', 'on', 'Next token', i < tokens.ids.length - 1);
  button('', acts, pinned ? 'Unpin' : 'Pin', 'pin').setAttribute('aria-pressed', String(pinned));
  walker('×', 'close', 'Close', true);
  node('p', 'strip-fate', popover, FATES[tokens.fates[i]] || '').dataset.fate = tokens.fates[i] || '';
}

// The chosen measure, then the sum: what fine-tuning and what up-scaling add.
function drawMeasures({ popover, measure }, column, i) {
  const notes = node('p', 'strip-notes', popover);
  if (measure !== 'none') {
    const { title, needs, of, unit } = MEASURES[measure];
    const value = of(column, i);
    const told = value === null ? missing(column, needs) : `${number(value)} ${unit}`;
    node('span', 'strip-chosen', notes, `${title}: ${told}`);
  }
  if (column.head.policy.finetune !== null) {
    const parts = DELTAS.map((name) => MEASURES[name].of(column, i));
    const [tuned, scale, both] = parts.map((value) => number(value));
    const weights = column.mix === column.own ? '' : ' at these weights';
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
function drawLaws({ popover }, column, i) {
  const { tokens, head, own } = column;
  const table = node('table', 'strip-laws', popover);
  const titles = node('tr', '', node('thead', '', table));
  for (const [title, explained] of LAWS) {
    const cell = node('th', '', titles, title);
    cell.scope = 'col';
    cell.title = explained;
  }
  const body = node('tbody', '', table);
  const policy = at(tokens.logprob.policy, i);
  const row = (...told) => drawLaw(body, column, i, ...told);
  row('Policy', policy, 'policy');
  const used = membersOf(own.small);
  const alone = scaled(head) && used.length === 1 ? used[0] : -1; // the small policy is this member
  if (scaled(head) && alone < 0) row('Small policy', minus(policy, shiftOf(column, i)), 'small');
  for (const m of othersOf(column)) {
    const view = m === alone ? 'small' : m === column.places.base ? 'base' : '';
    row(memberName(head.members[m]), under(column, m, i), view);
  }
}

function drawLaw(body, { tokens }, i, name, logprob, view) {
  const made = node('tr', '', body);
  node('th', '', made, name).scope = 'row';
  const of = (series) => at(series?.[view], i);
  const cells = [number(logprob), String(of(tokens.rank) || '–'), number(of(tokens.entropy))];
  if (view === 'policy') cells.push('', '', '');
  else {
    cells.push(number(of(tokens.total_variation)), number(of(tokens.divergence)));
    cells.push(number(minus(at(tokens.logprob.policy, i), logprob)));
  }
  for (const cell of cells) node('td', '', made, cell);
}

function drawLists(page, column, i) {
  if (!candidateRows(column, i)) return;
  const lists = node('div', 'strip-lists', page.popover);
  for (const place of [null, ...othersOf(column)]) {
    const law = lawOf(column, i, place);
    if (!law) continue;
    const section = node('section', 'strip-list', lists);
    node('h3', '', section, place === null ? 'Policy' : memberName(column.head.members[place]));
    const drawn = place === null ? at(column.tokens.logprob.policy, i) : under(column, place, i);
    drawRows(page, node('ol', '', section), column, i, law, drawn);
  }
}

function drawRows(page, list, column, i, law, drawn) {
  const ids = column.tokens.candidates[i];
  const token = column.tokens.ids[i];
  const order = [...ids.keys()].sort((one, two) => law[two] - law[one]).slice(0, TOP);
  for (const j of order) candidate(page, list, column, i, ids[j], law[j]);
  if (drawn === null || order.some((j) => ids[j] === token)) return;
  candidate(page, list, column, i, token, drawn).dataset.outside = ''; // the drawn token, from further down
}

function candidate({ onBranch, branchable }, list, column, i, id, logprob) {
  const item = node('li', '', list);
  const may = onBranch && (!branchable || branchable(column.key));
  const row = may ? button('strip-row', item, '', 'branch') : node('div', 'strip-row', item);
  row.dataset.id = id;
  if (logprob > VISIBLE) row.style.setProperty('--p', Math.exp(logprob).toFixed(4));
  const text = node('span', 'strip-word', row);
  text.dir = 'auto';
  writeToken(text, column, id);
  node('span', 'strip-chance', row, percent(logprob));
  if (id === column.tokens.ids[i]) row.dataset.drawn = '';
  if (may) row.setAttribute('aria-label', `${said(column, id)}, ${percent(logprob)}, branch here`);
  if (may) row.title = 'branch here';
  return row;
}
