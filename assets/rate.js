// The Rate tab: two answers at a time. Every text of a visitor or a model becomes a text node; nothing here writes HTML.
// `outbox.js` stands before this; `props.reply` is the server's answer to its last message.

const find = (name) => element.querySelector(name);
const every = (name) => [...element.querySelectorAll(name)];
const MINE = 'eft-lab.rate';
const POLL = 2000; // ms between two looks whether the next answers are there
const SETTLED = 300; // ms in which a new comparison takes no judgement: a key or a button pressed twice is none
const SIDES = { left: 'A', right: 'B' };
const VERDICTS = { left: 'A', right: 'B', both_good: 'both good', both_bad: 'both bad', unsure: "can't judge" };
const KEYS = {
  1: 'left', ArrowLeft: 'left', 2: 'right', ArrowRight: 'right', 3: 'both_good', ArrowUp: 'both_good',
  4: 'both_bad', ArrowDown: 'both_bad', 0: 'unsure',
};
const ACT_KEYS = { u: 'undo', e: 'history', g: 'guide', '?': 'keys' };
const STATES = {
  waiting: ['A moment', () => 'The next answers are being written. This page goes on by itself.'],
  paused: ['Paused', () => 'The organiser has paused this study. What you judged is kept: come back later.'],
  closed: ['Closed', () => 'This study takes no more judgements. What you judged before is kept. Thank you.'],
  finished: ['Thank you', finished],
};

const mine = { code: '', taught: '', atOnce: false, ...remembered(MINE) };
const dialog = find('dialog');
const box = outbox((message) => trigger('submit', message), late);
let campaign = new URLSearchParams(location.search).get('rate') || ''; // "": what the visitor compared
let asks = null; // the campaign's invitation
let login = ''; // a Hugging Face name, as the server knows it
let stranger = false; // the code of this browser is none of the server's
let screen = '';
let task = null; // what is shown, and what was chosen for it
let draft = {};
let editing = false;
let busy = false; // a judgement is under way
let poll = 0;
let appeared = 0;
let looked = 0; // ms for which the task was in view
let since = 0; // when it came into view, 0 while it is not

function node(tag, className, parent, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  if (parent) parent.append(made);
  return made;
}

function button(text, parent, act, className = 'quiet') {
  const made = node('button', className, parent, text);
  made.type = 'button';
  if (act) made.dataset.act = act;
  return made;
}

function say(kind, text) {
  const notice = find('.notice');
  notice.dataset.kind = kind;
  notice.setAttribute('role', kind === 'error' ? 'alert' : 'status');
  notice.textContent = text;
}

function keep(changes) {
  Object.assign(mine, changes);
  remember(MINE, mine);
}

// --- the server

const ask = (act, values = {}) => box.ask({ id: newKey(), act, campaign, code: mine.code, ...values });

function late({ act }, reason) {
  if (act !== 'cast') return say('work', `Waiting: ${reason}. It is asked again.`);
  return say('error', `Not kept yet: ${reason}. Your judgement stays in this browser and is sent again.`);
}

// A reply without an error, or null when the error was said.
async function answer(act, values) {
  const reply = await ask(act, values);
  say(reply.error ? 'error' : '', reply.error || '');
  return reply.error ? null : reply;
}

// --- screens

// Focus goes to a screen's heading, so that it is read out; never away from another tab, or from what somebody types.
function show(name) {
  clearTimeout(poll);
  screen = name;
  find('.rate').toggleAttribute('data-page', name !== 'task');
  for (const each of every('[data-screen]')) each.hidden = each.dataset.screen !== name;
  look();
  const active = document.activeElement;
  if (element.offsetParent === null || (active !== document.body && !element.contains(active))) return;
  find(`[data-screen=${name}] h2`).focus({ preventScroll: true });
  if (element.getBoundingClientRect().top < 0) element.scrollIntoView({ block: 'start' });
}

async function open() {
  const reply = await ask('open');
  if (reply.error && campaign) {
    campaign = ''; // a link that names none of ours: what can be done without one
    await open();
  }
  if (reply.error) return say('error', reply.error);
  asks = reply.invitation;
  login = reply.login;
  stranger = Boolean(reply.stranger);
  say(stranger ? 'error' : '', reply.stranger);
  if (!campaign) return drawFree();
  if (reply.begun) return begin();
  if (asks.state !== 'running') return arrive({ state: asks.state });
  return drawStart();
}

function drawFree() {
  find('[data-screen=free] [data-act=data]').hidden = !mine.code;
  show('free');
}

function drawStart() {
  const signs = asks.identity === 'login';
  find('.title').textContent = asks.title;
  find('.size').textContent = `${asks.total} comparisons at most. Stop when you like, and go on later.`;
  find('.guidelines').textContent = asks.guidelines;
  for (const each of every('.by-code')) each.hidden = signs;
  find('.by-login').hidden = !signs;
  find('[data-act=start]').disabled = signs && !login;
  let signed = login ? `Signed in as ${login}.` : 'This study asks you to sign in with Hugging Face first.';
  if (!login && !props.signs) signed += ' That works where it runs on a Space alone.';
  find('.signed').textContent = signs ? signed : '';
  const host = document.querySelector('#rate-sign'); // gradio's own button
  if (host) host.toggleAttribute('data-needed', signs);
  show('start');
}

async function start() {
  const known = asks.identity === 'code' && mine.code && !stranger;
  if (known) return begin();
  const reply = await answer('join');
  if (!reply) return null;
  stranger = false;
  if (!reply.code) return begin();
  keep({ code: reply.code, taught: '' });
  find('[data-screen=code] .code').textContent = reply.code;
  return show('code');
}

async function begin() {
  if (!campaign) return free();
  const reply = await answer('place');
  return reply && arrive(reply.place);
}

async function free() {
  if (!mine.code || stranger) return start();
  const reply = await answer('free');
  if (!reply) return null;
  if (reply.task) return draw(reply.task);
  return say('', 'You have judged every pair of it. Run another comparison on Compare, then come back.');
}

// Where the rater is: the next task, or why there is none.
function arrive(place, told = '') {
  if (place.state === 'task') draw(place.task, place.done);
  else if (!campaign) drawFree();
  else rest(...STATES[place.state], place);
  reveal(told);
}

// Whose answers the judged ones were, where the campaign allows it: above what comes next, in nobody's way.
function reveal(told) {
  for (const each of every('.reveal')) [each.textContent, each.hidden] = [told, !told];
}

function rest(title, about, place) {
  const judged = place.state === undefined || place.done > 0;
  find('[data-screen=rest] h2').textContent = title;
  find('.about').textContent = about(place);
  find('[data-screen=rest] [data-act=free]').hidden = Boolean(campaign);
  find('[data-screen=rest] .code').textContent = place.state === 'finished' && asks.identity === 'code' ? mine.code : '';
  find('[data-act=again]').hidden = place.state !== 'paused';
  for (const act of ['undo', 'history']) find(`[data-screen=rest] [data-act=${act}]`).hidden = !judged;
  find('[data-screen=rest] [data-act=undo]').hidden ||= ['paused', 'closed'].includes(place.state);
  find('[data-screen=rest] [data-act=data]').hidden = !mine.code && !login;
  show('rest');
  if (place.state === 'waiting') poll = setTimeout(again, POLL);
}

function finished({ done }) {
  const back = asks.identity === 'login' ? 'by signing in again' : 'on any device, by your code';
  return `You judged all ${done} comparisons. They are kept, and count in the study's results. Until the study is closed `
    + `you can come back and change them, ${back}.`;
}

async function again() {
  const at = screen;
  const reply = await ask('place');
  if (screen !== at) return;
  if (reply.error) say('error', reply.error);
  else arrive(reply.place, find('.reveal').textContent);
}

// --- a comparison

const more = () => asks.strength || asks.scales.length > 0 || asks.tags.length > 0 || asks.comment;
const atOnce = () => mine.atOnce || !more();

function draw(next, done = null, change = false) {
  const before = next.before || {};
  task = next;
  editing = change;
  draft = { verdict: before.verdict || '', strength: before.strength || null, tags: new Set(before.tags), scales: {} };
  for (const side of Object.keys(SIDES)) draft.scales[side] = { ...(before.scales || {})[side] };
  find('.comment textarea').value = before.comment || '';
  drawWhere(done);
  find('.prompt').textContent = task.prompt;
  for (const side of every('.side')) {
    side.querySelector('.answer').textContent = task[side.dataset.side].trim(); // models begin an answer with a space
    side.querySelector('.answer').scrollTop = 0;
  }
  find('.lesson').hidden = mine.taught === (login || mine.code);
  reveal('');
  drawQuestions();
  drawDraft();
  [appeared, looked, since] = [performance.now(), 0, 0];
  show('task');
}

function drawWhere(done) {
  const { number, total } = task;
  const of = campaign ? ` of ${total}` : '';
  find('.where').textContent = editing ? `Comparison ${number}${of}, again` : `${campaign ? '' : 'Comparison '}${number}${of}`;
  find('[data-act=back]').hidden = !editing;
  find('[data-screen=task] [data-act=undo]').hidden = editing;
  const bar = find('progress');
  bar.hidden = !campaign;
  if (done !== null) bar.value = total ? done / total : 0;
}

function drawQuestions() {
  find('.strength').hidden = !asks.strength;
  find('.comment').hidden = !asks.comment;
  find('.more').hidden = !(asks.strength || asks.tags.length || asks.comment);
  find('.cast').hidden = !more();
  find('.cast input').checked = mine.atOnce;
  const tags = find('.tags');
  tags.replaceChildren();
  for (const tag of asks.tags) button(tag, tags, '', 'chip').dataset.tag = tag;
  for (const side of every('.side')) drawScales(side.querySelector('.scales'), side.dataset.side);
}

function drawScales(host, side) {
  host.replaceChildren();
  for (const scale of asks.scales) {
    const row = node('div', 'scale', host);
    row.setAttribute('role', 'group');
    row.setAttribute('aria-label', `${scale} of ${SIDES[side]}, 1 to 5`);
    node('span', '', row, scale);
    for (let mark = 1; mark <= 5; mark += 1) Object.assign(button(String(mark), row, '', '').dataset, { side, scale, mark });
  }
}

function drawDraft() {
  const press = (each, on) => each.setAttribute('aria-pressed', String(on));
  for (const each of every('[data-verdict]')) press(each, each.dataset.verdict === draft.verdict);
  for (const each of every('[data-strength]')) {
    press(each, Number(each.dataset.strength) === draft.strength);
    each.disabled = Boolean(draft.verdict) && !Object.hasOwn(SIDES, draft.verdict);
  }
  for (const each of every('[data-tag]')) press(each, draft.tags.has(each.dataset.tag));
  for (const each of every('[data-mark]')) press(each, draft.scales[each.dataset.side][each.dataset.scale] === Number(each.dataset.mark));
  find('[data-act=cast]').disabled = !draft.verdict || busy;
  find('[data-screen=task]').toggleAttribute('data-busy', busy);
}

const ready = () => screen === 'task' && !busy && performance.now() - appeared > SETTLED;

function choose(verdict) {
  if (!ready()) return;
  draft.verdict = verdict;
  drawDraft();
  if (atOnce()) cast();
  else find('.cast').scrollIntoView({ block: 'nearest' }); // on a phone it is below
}

function mark({ side, scale, mark: given }) {
  const marks = draft.scales[side];
  if (marks[scale] === Number(given)) delete marks[scale];
  else marks[scale] = Number(given);
}

function tag(name) {
  if (!draft.tags.delete(name)) draft.tags.add(name);
}

function rateStrength(value) {
  draft.strength = draft.strength === value ? null : value;
}

function judgement() {
  look();
  return {
    comparison: task.comparison,
    client_key: newKey(),
    verdict: draft.verdict,
    strength: Object.hasOwn(SIDES, draft.verdict) ? draft.strength : null,
    scales: draft.scales,
    tags: [...draft.tags],
    comment: asks.comment ? find('.comment textarea').value.trim() : '',
    seconds: Math.round(looked) / 1000,
  };
}

async function cast() {
  if (!ready() || !draft.verdict) return;
  const said = judgement();
  await settle(ask('cast', { judgement: said }), said.verdict);
}

async function undo() {
  if (busy) return;
  await settle(ask('undo', { client_key: newKey() }), '');
}

// A judgement, or its taking back: nothing else is judged until the server has said what became of it.
async function settle(asked, verdict) {
  busy = true;
  drawBusy();
  const reply = await asked;
  busy = false;
  drawBusy();
  if (reply.error) return say('error', reply.error);
  const { action, reveal: whose } = reply.receipt;
  const told = whose && verdict ? `The last pair: you said ${VERDICTS[verdict]}. A was ${whose.left}. B was ${whose.right}.` : '';
  if (!campaign && action !== 'undo') {
    rest('Kept', () => 'Your judgement is kept, apart from those of studies.', {});
    reveal(told);
  } else {
    const next = reply.place || (await ask('place')).place;
    if (next) arrive(next, told);
  }
  return say('kept', { vote: 'Kept.', edit: 'Kept: it stands in the stead of what you said before.', undo: 'Taken back.' }[action]);
}

function drawBusy() {
  if (screen === 'task') drawDraft();
}

// --- time: counted only while the comparison is in view

function look() {
  if (since) looked += performance.now() - since;
  since = screen === 'task' && !document.hidden && element.offsetParent !== null ? performance.now() : 0;
}

// --- sheets

function sheet(title, fill) {
  find('#rate-sheet').textContent = title;
  const body = find('dialog .body');
  body.replaceChildren();
  fill(body);
  if (!dialog.open) dialog.showModal();
}

async function history() {
  const reply = await answer('history');
  if (!reply) return;
  sheet('What you said, latest first', (body) => {
    if (!reply.past.length) node('p', '', body, 'Nothing yet.');
    for (const { comparison, number, prompt, verdict, at } of reply.past) {
      const row = button('', body, 'reopen', 'past');
      row.dataset.comparison = comparison;
      node('span', 'number', row, String(number));
      node('span', 'text', row, prompt.length > 120 ? `${prompt.slice(0, 120)}…` : prompt).dir = 'auto';
      node('span', 'verdict', row, VERDICTS[verdict]);
      node('span', 'at', row, new Date(at).toLocaleString([], { dateStyle: 'short', timeStyle: 'short' }));
    }
  });
}

async function reopen(comparison) {
  dialog.close();
  const reply = await answer('reopen', { comparison });
  if (reply) draw(reply.task, null, true);
}

function guide() {
  sheet('Guidelines', (body) => { node('p', 'guidelines', body, asks.guidelines).dir = 'auto'; });
}

function keys() {
  const rows = [['1 or ←', 'A is better'], ['2 or →', 'B is better'], ['3 or ↑', 'Both good'], ['4 or ↓', 'Both bad']];
  rows.push(['0', "Can't judge"]);
  if (asks.strength) rows.push([',', 'Slightly better'], ['.', 'Clearly better']);
  if (more()) rows.push(['Enter', 'Save and next; Ctrl+Enter in the comment']);
  rows.push(['U', 'Undo'], ['E', 'Earlier judgements'], ['G', 'Guidelines'], ['?', 'These keys']);
  sheet('Keys', (body) => {
    const list = node('dl', 'keys', body);
    for (const [key, text] of rows) {
      node('dt', '', list, key);
      node('dd', '', list, text);
    }
    node('p', 'hint', body, 'In a text that has the focus, ↑ and ↓ scroll.');
  });
}

function data() {
  sheet('Your data', (body) => {
    const signed = asks.identity === 'login' && login;
    if (signed) node('p', '', body, `You are signed in as ${login}.`);
    else {
      node('p', '', body, 'Your code, to go on on another device:');
      node('p', 'code', body, mine.code);
      button('Copy', body, 'copy');
    }
    node('p', '', body, 'Kept are your judgements, tags, comments and times, and nothing that says who you are beside '
      + `${signed ? 'your user name' : 'a fingerprint of the code'}.`);
    button('Delete my data', body, 'forget', 'quiet bad');
  });
}

function confirmForget() {
  sheet('Delete all of it?', (body) => {
    node('p', '', body, 'This deletes all that you judged here, in every study: choices, tags, comments, times, and '
      + `${asks.identity === 'login' ? 'your name' : 'your code'}. It cannot be taken back. Files that an organiser has `
      + 'exported before are out of our reach.');
    button('Delete now', body, 'forget-now', 'primary bad');
    button('Keep it', body, 'close');
  });
}

async function forget() {
  dialog.close();
  const reply = await answer('forget');
  if (!reply) return;
  box.drop();
  keep({ code: '', taught: '' });
  stranger = false;
  if (campaign) drawStart();
  else drawFree();
  say('', `Deleted: ${reply.forgotten} ${reply.forgotten === 1 ? 'judgement' : 'judgements'} and all else of yours.`);
}

async function copy() {
  try {
    await navigator.clipboard.writeText(mine.code);
    say('', 'Code copied');
  } catch {
    say('', mine.code); // no clipboard on this page (http, or refused): to be copied by hand
  }
  if (dialog.open) dialog.close();
}

// --- what is entered

async function enter(form, text) {
  if (!text) return null;
  if (form === 'campaign') {
    campaign = idOf(text);
    const kept = [...new URLSearchParams(location.search)].filter(([key]) => key.startsWith('__')); // of others
    window.history.replaceState(window.history.state, '', `?${new URLSearchParams([['rate', campaign], ...kept])}`);
    return open();
  }
  keep({ code: grouped(text), taught: '' });
  await open();
  return !stranger && screen === 'start' && begin();
}

// A code as we write it, however it was typed.
function grouped(code) {
  return (code.toUpperCase().match(/[0-9A-Z]/g) || []).join('').replace(/(.{4})(?=.)/g, '$1-');
}

function idOf(text) {
  try {
    return new URL(text).searchParams.get('rate') || text;
  } catch {
    return text; // no address: the id itself
  }
}

const acts = {
  free, start, begin, copy, undo, history, guide, keys, data, cast, again,
  'have-code': () => {
    find('[data-form=code]').hidden = false;
    find('[data-form=code] input').focus();
  },
  learnt: () => {
    keep({ taught: login || mine.code });
    find('.lesson').hidden = true;
  },
  back: begin,
  reopen: (target) => reopen(target.dataset.comparison),
  close: () => dialog.close(),
  forget: confirmForget,
  'forget-now': forget,
};

element.addEventListener('click', (event) => {
  const target = event.target.closest('button');
  if (!target) return;
  const { act, verdict, strength, tag: name, mark: given } = target.dataset;
  if (act) acts[act](target);
  else if (verdict) choose(verdict);
  else if (strength) rateStrength(Number(strength));
  else if (name) tag(name);
  else if (given) mark(target.dataset);
  if (!act && !verdict && task) drawDraft();
});

element.addEventListener('submit', (event) => {
  event.preventDefault();
  const { form } = event.target.dataset;
  if (form) enter(form, event.target.elements.text.value.trim());
});

find('.cast input').addEventListener('change', (event) => keep({ atOnce: event.target.checked }));

find('.comment').addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  event.stopPropagation(); // Compare would run
  cast();
});

// The page's keys. The listener ends with the component: a remounted one brings its own.
const life = new AbortController();
function onPage(type, react) {
  const guarded = (event) => (element.isConnected ? react(event) : life.abort());
  document.addEventListener(type, guarded, { signal: life.signal });
}

onPage('visibilitychange', look);
new IntersectionObserver(look).observe(element); // another tab of this page is shown, or this one again

onPage('keydown', (event) => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (element.offsetParent === null || dialog.open || event.target.closest('input:not([type=checkbox]), textarea, select')) return;
  const act = ACT_KEYS[event.key.toLowerCase()];
  const pressed = act && find(`[data-screen=${screen}] [data-act=${act}]`);
  if (pressed && !pressed.hidden) return pressed.click();
  if (screen === 'task') judge(event);
});

function judge(event) {
  const { key, target } = event;
  const arrow = key.startsWith('Arrow');
  if (arrow && target.closest('.answer, .prompt, [role=tab]')) return; // they scroll it, or go to the next tab
  if (Object.hasOwn(KEYS, key)) choose(KEYS[key]);
  else if (asks.strength && (key === ',' || key === '.')) rateStrength(key === ',' ? 1 : 2);
  else if (key === 'Enter' && more() && !target.closest('button:not([aria-pressed=true][data-verdict]), a')) cast();
  else return;
  event.preventDefault();
  if (task) drawDraft();
}

watch('reply', () => props.reply && box.take(JSON.parse(props.reply)));

// What a reload left unsent goes first.
async function main() {
  const told = [];
  for (const message of box.unsent()) {
    const { error } = await box.ask(message);
    told.push(error ? ['error', `A judgement that waited in this browser was not taken. ${error}`]
      : ['kept', 'Kept: a judgement that had waited in this browser.']);
  }
  await open();
  for (const [kind, text] of told) say(kind, text);
}

main();
