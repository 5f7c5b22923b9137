// The board of Compare. Every text of a visitor or a model becomes a text node; nothing here writes HTML.
// `props.value` is the log of a run, one JSON object a line, append-only; `props.layout` the columns as set up now.
// Two runs of one page may speak in turns (one runs, one is queued), so each log is followed by its own name.

const find = (name) => element.querySelector(name);
const root = find('.columns');
const status = find('.status');
const after = find('.after');
const echo = find('.echo');
const cards = new Map(); // key of a column -> its nodes
const read = new Map(); // name of a run -> characters read
const ended = new Set(); // runs that are over, or were stopped here
let layout = { columns: [], selected: 0, mark: '' };
let shown = null; // the run whose answers are on the board
let waiting = null; // a run that has not started: it must not wipe the answers of another
let went = '';

const strips = tokenStrips({
  tools: find('.strip-tools'),
  shifts: find('.strip-shifts'),
  layer: find('.layer'),
  live: find('.strip-live'),
  onBranch: ({ key, tokens }) => trigger('select', { act: 'branch', key, tokens, ...asked() }),
  onRegenerate: ({ key, behaviours, beta }) => trigger('select', { act: 'weigh', key, behaviours, beta }),
});

// What the shown run asked, for what goes on from it; and whether two asked the same.
const asked = () => ({ prompt: shown.prompt, context: shown.context });
const alike = (one, other) =>
  one.prompt === other.prompt && JSON.stringify(one.context) === JSON.stringify(other.context);

function node(tag, className, parent, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  if (parent) parent.append(made);
  return made;
}

function button(className, parent, act, key) {
  const made = node('button', className, parent);
  made.type = 'button';
  made.dataset.act = act;
  made.dataset.key = key;
  return made;
}

function makeCard(key) {
  const card = node('article', 'card', root);
  const head = node('header', '', card);
  const name = button('name', node('h2', '', head), 'select', key);
  node('span', 'tag', head, 'reference');
  const remove = button('remove', head, 'remove', key);
  remove.textContent = '×';
  const formula = node('p', 'formula', card);
  node('div', 'progress', card).setAttribute('aria-hidden', 'true');
  const text = node('div', 'text', card);
  text.dir = 'auto';
  text.setAttribute('aria-live', 'polite');
  const body = text.appendChild(document.createTextNode(''));
  const host = node('div', 'tokens', card);
  host.hidden = true;
  const foot = node('footer', '', card);
  const made = { card, name, remove, formula, text, body, host, told: 0 };
  const said = node('span', 'said', foot);
  made.note = node('span', 'note', said);
  made.reply = button('reply', said, 'reply', key);
  made.reply.textContent = 'Reply';
  made.reply.title = 'Ask on after this answer: all columns are told it as theirs';
  made.count = node('span', 'count', foot);
  Object.assign(made, makeShare(foot, key));
  made.inspect = button('inspect', foot, 'inspect', key);
  made.inspect.textContent = 'Inspect';
  cards.set(key, made);
  return made;
}

// The accepted share is a button: its details open on hover and on focus, so a finger reaches them too.
function makeShare(foot, key) {
  const more = node('span', 'more', foot, '· ');
  const share = node('button', 'share', more, 'accepted');
  share.type = 'button';
  const details = node('span', 'details', more);
  details.setAttribute('role', 'tooltip');
  details.id = `details-${key}`;
  share.setAttribute('aria-describedby', details.id);
  return { more, share, details };
}

function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

function say(kind, text) {
  status.dataset.kind = kind;
  status.setAttribute('role', kind === 'error' ? 'alert' : 'status');
  setText(status, text);
}

function rate(row) {
  const shownSpeed = row.s >= 10 ? Math.round(row.s) : Math.round(row.s * 10) / 10;
  return row.n ? `${row.n} tok · ${shownSpeed}/s` : '';
}

function drawColumn(column) {
  const made = cards.get(column.key) || makeCard(column.key);
  const { card } = made;
  const answer = shown ? shown.rows.get(column.key) : undefined;
  const stale = Boolean(answer) && (answer.mark !== column.mark || answer.how !== layout.mark);
  const running = Boolean(answer) && shown.running && !answer.end;
  card.dataset.role = column.role;
  card.dataset.state = running ? 'running' : stale ? 'stale' : answer ? 'done' : 'empty';
  card.toggleAttribute('data-selected', column.key === layout.selected);
  card.toggleAttribute('data-failed', Boolean(answer && answer.failed));
  setText(made.name, column.label);
  made.name.setAttribute('aria-pressed', String(column.key === layout.selected));
  made.name.title = 'Edit this column in the settings';
  made.remove.setAttribute('aria-label', `Remove ${column.label}`);
  made.remove.hidden = layout.columns.length < 2;
  const branch = shown && column.branch && alike(column.branch, shown) ? column.branch : null;
  setText(made.formula, branch ? `${column.formula}, from token ${branch.at}` : column.formula);
  drawAnswer(made, answer, running, stale);
  drawTokens(made, column, answer);
}

// The records take the text's place as soon as there are any: what a chunk holds was drawn a moment before.
function drawTokens(made, { key, label, role }, answer) {
  const chunks = answer ? answer.chunks : [];
  if (made.row !== answer) {
    if (made.strip) made.strip.clear();
    Object.assign(made, { row: answer, told: 0 });
  }
  if (chunks.length) {
    made.strip = strips.column(key, made.host, { label, role });
    for (const chunk of chunks.slice(made.told)) made.strip.append(chunk);
    made.told = chunks.length;
  }
  made.host.hidden = !chunks.length;
  made.text.hidden = Boolean(chunks.length);
  made.inspect.hidden = !(answer && answer.end && made.strip && made.strip.length);
}

function drawAnswer(made, answer, running, stale) {
  const text = answer ? answer.text.trimStart() : ''; // models begin an answer with a space
  if (text.startsWith(made.body.data)) made.body.appendData(text.slice(made.body.data.length));
  else made.body.data = text;
  made.text.setAttribute('aria-busy', String(running));
  let note = answer ? answer.end || (shown.running ? '' : shown.over || '') : 'press Run to see its answer';
  if (answer && answer.failed) note = answer.message;
  if (stale && !running) note = 'settings changed, press Run';
  setText(made.note, note);
  setText(made.count, answer ? rate(answer) : '');
  made.reply.hidden = !(answer && answer.end && !answer.failed && text.trim() && shown.replies);
  drawShare(made, answer);
}

function drawShare({ more, share, details }, answer) {
  const known = Boolean(answer) && answer.share !== undefined;
  const said = (known && answer.details) || [];
  more.hidden = !known;
  share.disabled = !said.length;
  if (known) setText(share, `${Math.round(100 * answer.share)}% accepted`);
  if (details.children.length === said.length && said.every((text, i) => details.children[i].textContent === text)) return;
  details.replaceChildren();
  for (const text of said) node('span', '', details, text);
}

function draw() {
  const keys = layout.columns.map((column) => column.key);
  for (const [key, made] of cards) {
    if (keys.includes(key)) continue;
    if (made.strip) made.strip.remove();
    made.card.remove();
    cards.delete(key);
  }
  layout.columns.forEach(drawColumn);
  const focused = document.activeElement;
  keys.forEach((key, place) => {
    const { card } = cards.get(key);
    if (root.children[place] !== card) root.insertBefore(card, root.children[place] || null);
  });
  if (focused && element.contains(focused)) focused.focus();
  find('[data-act=add]').disabled = keys.length >= 8;
  drawEcho();
  drawPanelTitle();
  const busy = Boolean((shown && shown.running) || waiting);
  document.body.toggleAttribute('data-running', busy);
  const chip = document.querySelector('#chip-queue');
  if (chip) setText(chip, waiting && waiting.ahead ? 'queued' : busy ? 'running' : 'queue free');
}

function drawEcho() {
  after.hidden = !(shown && shown.note);
  if (!shown) return setText(echo, '');
  setText(after, shown.note);
  after.title = [shown.context.system, ...shown.context.turns.flat()].join('\n').trim().slice(0, 2000);
  const prompt = shown.prompt.length > 160 ? `${shown.prompt.slice(0, 160)}…` : shown.prompt;
  setText(echo, shown.example ? `Example, press Run to compute it here: ${prompt}` : prompt);
  echo.toggleAttribute('data-example', shown.example);
}

function drawPanelTitle() {
  const title = document.querySelector('#panel-title');
  const column = layout.columns.find((each) => each.key === layout.selected);
  if (!title || !column) return;
  setText(title, column.label);
  title.parentElement.dataset.role = column.role;
}

function open(run) {
  waiting = null;
  run.running = !run.example;
  const before = run.joins && shown && alike(shown, run) ? shown.rows : new Map();
  for (const [key, row] of before) run.rows.set(key, row);
  for (const { key, mark, label, formula } of run.columns) {
    run.rows.set(key, { text: '', n: 0, s: 0, mark, how: run.mark, by: `${label}: ${formula}`, chunks: [] });
  }
  shown = run;
  if (!run.example && run.query) remember(run.query);
}

function remember(query) {
  // Parameters of others, such as __theme, stay as they are.
  const kept = [...new URLSearchParams(location.search)].filter(([key]) => key.startsWith('__'));
  const extra = kept.map(([key, value]) => `&${encodeURIComponent(key)}=${encodeURIComponent(value)}`).join('');
  history.replaceState(history.state, '', location.pathname + query + extra + location.hash);
}

function finish(run, kind, over, text) {
  run.running = false;
  run.over = over;
  ended.add(run.id);
  if (waiting === run) waiting = null;
  if (text !== null) say(kind, text);
}

const take = {
  run(run, data) {
    Object.assign(run, data, { rows: new Map() });
    if (run.example) open(run);
    else waiting = run;
  },
  queued(run, data) {
    run.ahead = true;
    say('work', data.text);
  },
  plan(run, data) { say('work', data.text); },
  loading(run, data) {
    if (shown !== run) open(run);
    say('work', data.text);
  },
  timing(run, data) {
    if (shown !== run) open(run);
    say('work', data.text);
  },
  start(run, data) {
    if (shown !== run) open(run);
    say('work', data.text);
  },
  row(run, data) {
    const row = run.rows.get(data.c);
    if (!row) return;
    row.text += data.x;
    row.n = data.n;
    row.s = data.s;
    row.share = data.a;
    row.end = data.end || '';
    row.fates = data.f || ''; // one letter a token: plain, accepted, recovered, bonus
    row.details = data.d;
    row.failed = Boolean(data.failed);
    row.message = data.m || '';
  },
  trace(run, data) {
    const row = run.rows.get(data.c);
    if (row) row.chunks.push(data);
  },
  done(run, data) { finish(run, '', '', data.text); },
  stopped(run) {
    const newer = waiting !== run && (waiting || (shown !== run && shown && shown.running));
    finish(run, '', 'stopped', newer ? null : 'Stopped'); // the run that ended it has its say
  },
  error(run, data) { finish(run, 'error', 'not finished', data.text); },
};

function follow() {
  const log = props.value || '';
  const line = log.indexOf('\n');
  if (line < 0) return;
  const id = JSON.parse(log.slice(0, line)).id;
  if (ended.has(id)) return;
  const from = read.get(id) || { at: line + 1, run: { id } };
  const to = log.lastIndexOf('\n') + 1;
  for (const text of log.slice(from.at, to).split('\n')) {
    if (!text || ended.has(id)) continue;
    const data = JSON.parse(text);
    if (Object.hasOwn(take, data.t)) take[data.t](from.run, data);
  }
  read.set(id, { at: to, run: from.run });
  draw();
}

function arrange() {
  layout = JSON.parse(props.layout);
  if (layout.notice) say('error', layout.notice);
  else if (status.dataset.kind === 'error' && !(shown && shown.running)) say('', '');
  draw();
  if (layout.go && layout.go !== went) {
    went = layout.go;
    // After the prompt of a link has reached its box. One column alone joins those that are shown, on their prompt.
    const { only } = layout;
    setTimeout(() => trigger('submit', only === null ? {} : { only, ...asked() }), 50);
  }
}

function stop() {
  for (const run of [waiting, shown]) if (run && (run === waiting || run.running)) finish(run, '', 'stopped', 'Stopped');
  draw();
}

async function copy() {
  const link = shown && shown.query ? location.origin + location.pathname + shown.query : '';
  if (!link) return say('error', 'This comparison is too long for a link: shorten the prompt.');
  try {
    await navigator.clipboard.writeText(link);
    say('', 'Link copied');
  } catch {
    say('', link); // no clipboard on this page (http, or refused): the link itself, to be copied by hand
  }
}

function inspect(key) {
  const { chunks } = shown.rows.get(key);
  const tokens = chunks.flatMap((chunk) => chunk.tokens.ids);
  trigger('expand', { ...asked(), policy: chunks[0].policy, tokens });
}

function reply(key) {
  const { text, by } = shown.rows.get(key);
  trigger('edit', { ...asked(), answer: text.trim(), by });
}

const narrow = () => matchMedia('(max-width: 1099px)').matches;

let opener = null;

function panel(opened, focus) {
  if (opened) opener = document.activeElement;
  document.body.toggleAttribute('data-panel', opened);
  find('[data-act=panel]').setAttribute('aria-expanded', String(opened));
  if (!focus) return;
  const target = opened ? document.querySelector('#panel textarea') : opener && opener.isConnected ? opener : find('[data-act=panel]');
  if (target) target.focus({ preventScroll: !opened });
}

element.addEventListener('click', (event) => {
  const target = event.target.closest('button[data-act]');
  if (!target) return;
  const { act } = target.dataset;
  if (act === 'copy') copy();
  else if (act === 'inspect') inspect(Number(target.dataset.key));
  else if (act === 'reply') reply(Number(target.dataset.key));
  else if (act === 'panel') panel(!document.body.hasAttribute('data-panel'), true);
  else trigger('select', { act, key: Number(target.dataset.key || 0) });
  if (act === 'select' && narrow()) panel(true, true);
});

// The page's own buttons lie outside this component. Its listeners end with it: a remounted board brings its own.
const life = new AbortController();
function onPage(type, react) {
  const guarded = (event) => (element.isConnected ? react(event) : life.abort());
  document.addEventListener(type, guarded, { signal: life.signal });
}

onPage('click', (event) => {
  if (event.target.closest('#stop')) stop();
  if (event.target.closest('#close-panel')) panel(false, true);
  if (event.target.closest('#run')) say('work', 'Waiting for the server');
});

onPage('keydown', (event) => {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    document.querySelector('#run').click();
  } else if (event.key === 'Escape') {
    if (document.activeElement.classList.contains('share')) document.activeElement.blur();
    else if (document.body.hasAttribute('data-panel')) panel(false, true);
    else if (document.body.hasAttribute('data-running')) document.querySelector('#stop').click();
  }
});

onPage('eft-panel', drawPanelTitle);
watch('value', follow);
watch('layout', arrange);
arrange();
follow();
