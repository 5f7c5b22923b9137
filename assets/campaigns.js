// Campaigns and one of them: how far it is, what can be done with it, its export in one of FORMS. Text nodes only.
// `props.value` is all that is shown, `props.said` what is said once, `props.save` a file for the organiser, one JSON
// object each. While it is in view it asks for news every few seconds.

const EVERY = 5000; // milliseconds
const PATIENCE = 60000; // after which an answer is no longer waited for
const STATES = { running: 'running', paused: 'paused', closed: 'closed' };
const find = (name) => element.querySelector(name);
const status = find('.status');
const ask = find('.ask');
const form = find('.export');
let all = []; // campaigns
let one = null; // what is known of the chosen one
let chosen = ''; // its id
let asking = null; // what the question would do
let offered = ''; // the campaign whose export is set up
let asked = 0; // when the server was asked last
let due = 0; // when it may be asked for news again

function node(tag, className, parent, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
}

function button(text, act, parent, data = {}) {
  const made = node('button', 'quiet', parent, text);
  made.type = 'button';
  made.dataset.act = act;
  Object.assign(made.dataset, data);
  return made;
}

const count = (number) => number.toLocaleString('en');
const many = (number, noun) => `${count(number)} ${noun}${number === 1 ? '' : 's'}`;
const day = (text) => new Date(text).toLocaleString([], { dateStyle: 'medium', timeStyle: 'short' });

function say(kind, text) {
  status.dataset.kind = kind;
  status.setAttribute('role', kind === 'error' ? 'alert' : 'status');
  status.textContent = text;
}

function wish(act, data = {}) {
  asked = Date.now();
  trigger('submit', { act, campaign: chosen, ...data });
}

// --- the list

function bar(parent, share, label) {
  const made = node('progress', '', parent);
  made.max = 1;
  made.value = share;
  made.setAttribute('aria-label', label);
}

function list() {
  find('.list').replaceChildren();
  for (const { id, title, state, free, judged, wanted, raters } of all) {
    const row = node('button', 'campaign', find('.list'));
    row.type = 'button';
    row.dataset.campaign = id;
    row.setAttribute('aria-current', id === chosen);
    node('span', 'title', row, title).dir = 'auto';
    const judgements = free ? many(judged, 'judgement') : `${count(judged)} of ${many(wanted, 'judgement')}`;
    node('span', 'about', row, `${free ? 'free' : STATES[state]} · ${judgements} · ${many(raters, 'rater')}`);
    if (!free) bar(row, wanted ? judged / wanted : 0, 'Judgements');
  }
}

// --- one campaign

function meter(label, done, total, note = '') {
  const made = node('div', 'meter', find('.meters'));
  node('span', 'label', made, label);
  bar(made, total ? done / total : 0, label);
  node('span', 'number', made, `${count(done)} of ${count(total)}${note}`);
}

function tools({ state, free }) {
  const box = find('.tools');
  box.replaceChildren();
  if (free) return;
  if (state === 'running') button('Pause', 'state', box, { state: 'paused' });
  if (state === 'paused') button('Resume', 'state', box, { state: 'running' });
  if (state === 'closed') button('Open again', 'state', box, { state: 'running', ask: 'open' });
  else button('Close', 'state', box, { state: 'closed', ask: 'close' });
}

function head(row, cells) {
  for (const [text, className] of cells) node('th', className, row, text).scope = 'col';
}

function raters({ raters: people, most }) {
  const table = find('.raters');
  table.replaceChildren();
  if (!people.length) {
    node('caption', '', table, 'Nobody has begun yet.');
    return;
  }
  head(node('tr', '', node('thead', '', table)), [
    ['Rater', ''], ['Judgements', 'number'], ['Median time', 'number'], ['Latest', ''], ['', ''],
  ]);
  const body = node('tbody', '', table);
  for (const { annotator, name, judged, median_seconds: seconds, last, excluded } of people) {
    const row = node('tr', excluded ? 'out' : '', body);
    node('td', 'name', row, name);
    node('td', 'number', row, most ? `${count(judged)} of ${count(most)}` : count(judged));
    node('td', 'number', row, seconds === null ? '' : `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`);
    node('td', 'time', row, last ? day(last) : '');
    const cell = node('td', 'acts', row);
    if (excluded) {
      node('span', 'reason', cell, `Taken out: ${excluded}`);
      button('Put back', 'include', cell, { annotator });
    } else if (judged) button('Take votes out', 'exclude', cell, { annotator, name, ask: 'exclude' });
  }
}

function pairs({ pairs: rows }) {
  const table = find('.pairs');
  table.replaceChildren();
  find('.paired').hidden = !rows.length;
  const body = node('tbody', '', table);
  for (const { first, second, judged, wanted } of rows) {
    const row = node('tr', '', body);
    node('td', 'name', row, `${first} against ${second}`);
    bar(node('td', 'bar', row), wanted ? judged / wanted : 0, 'Judgements');
    node('td', 'number', row, `${count(judged)} of ${count(wanted)}`);
  }
}

function address(id) {
  return `${location.origin}${location.pathname.replace(/organise\/?$/, '')}?rate=${id}`;
}

function show() {
  const campaign = all.find(({ id }) => id === chosen);
  const known = Boolean(campaign && one?.id === chosen);
  find('.one').hidden = !known;
  if (!known) return;
  find('.one h2').textContent = campaign.title;
  find('.state').textContent = campaign.free ? 'free comparisons' : STATES[campaign.state];
  find('.state').dataset.state = campaign.state;
  tools(campaign);
  find('.link').hidden = campaign.free;
  find('.link input').value = address(campaign.id);
  find('.meters').replaceChildren();
  if (!campaign.free) {
    const failed = campaign.failed ? `, ${count(campaign.failed)} failed` : '';
    const waits = campaign.elsewhere && campaign.ready + campaign.failed < campaign.answers;
    const away = waits ? `; a server with EFT_FAMILY=${campaign.elsewhere} writes them` : '';
    meter('Answers', campaign.ready, campaign.answers, failed + away);
    meter('Judgements', campaign.judged, campaign.wanted);
  }
  raters(one);
  pairs(one);
  if (offered !== chosen) options();
  offered = chosen;
  find('.plan').hidden = !one.facts.length;
  const facts = find('.plan dl');
  facts.replaceChildren();
  for (const [name, text] of one.facts) {
    node('dt', '', facts, name);
    node('dd', '', facts, text).dir = 'auto';
  }
}

// --- questions before what cannot be taken lightly

const QUESTIONS = {
  close: () => ['Close this campaign? Raters can judge no more, and its results may become public.', 'Close'],
  open: () => ['Open it again? Raters may have seen its results by now, which the judgements to come will not show.', 'Open'],
  exclude: ({ name }) => [`Take the votes of ${name} out of the results? They are kept and marked, with your reason.`, 'Take out'],
};

function question(data) {
  asking = data;
  ask.hidden = !data;
  if (!data) return;
  const [text, yes] = QUESTIONS[data.ask](data);
  ask.querySelector('p').textContent = text;
  ask.querySelector('[type=submit]').textContent = yes;
  const reason = ask.querySelector('input');
  reason.hidden = data.ask !== 'exclude';
  reason.required = !reason.hidden;
  reason.value = '';
  (reason.hidden ? ask.querySelector('[type=submit]') : reason).focus();
}

ask.addEventListener('submit', (event) => {
  event.preventDefault();
  const { act, ask: _, name: __, ...data } = asking;
  wish(act, { ...data, reason: ask.querySelector('input').value });
  question(null);
});

// --- export

const select = form.elements.form;
const pair = form.elements.pair;
const wished = () => FORMS.find(({ name }) => name === select.value);

// What a form can be asked for; of a campaign everything is blind, of free comparisons nothing is.
function options() {
  const { about, options: given, paired } = wished();
  const free = all.find(({ id }) => id === chosen)?.free;
  find('.export .about').textContent = about;
  find('.options').replaceChildren();
  for (const [name, text] of given.filter(([each]) => free || each !== 'not_blind')) {
    const label = node('label', '', find('.options'));
    Object.assign(node('input', '', label), { type: 'checkbox', name, checked: name === 'not_blind' });
    label.append(` ${text}`);
  }
  pair.replaceChildren();
  for (const [place, { first, second }] of (one?.pairs ?? []).entries()) {
    node('option', '', pair, `${first} against ${second}`).value = place;
  }
  pair.hidden = !paired || pair.length < 2;
}

form.addEventListener('submit', (event) => {
  event.preventDefault();
  tell('', 'Writing the file');
  const checked = [...form.querySelectorAll('input:checked')].map(({ name }) => name);
  const { first, second } = one.pairs[pair.value] ?? {};
  const of = pair.hidden ? null : [first, second];
  trigger('download', { campaign: chosen, form: select.value, options: checked, pair: of });
});

function tell(kind, text) {
  find('.counts').dataset.kind = kind;
  find('.counts').textContent = text;
}

async function hand({ name, mime, base64 }) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(await (await fetch(`data:${mime};base64,${base64}`)).blob());
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

// --- what comes and goes

// What has the focus has it again when all is drawn anew.
function keeping(change) {
  const held = element.contains(document.activeElement) ? JSON.stringify(document.activeElement.dataset) : '{}';
  change();
  if (held === '{}') return;
  [...element.querySelectorAll('button')].find((each) => JSON.stringify(each.dataset) === held)?.focus();
}

function draw() {
  const data = props.value ? JSON.parse(props.value) : { campaigns: [], one: null, open: true };
  all = data.campaigns;
  if (data.open || !chosen) chosen = data.one?.id ?? '';
  if (!data.one || data.one.id === chosen) one = data.one; // else it is a late word of another campaign
  find('.none').hidden = !props.value || all.length > 0;
  list();
  show();
}

function heard() {
  if (!props.said) return;
  const { t: kind, text } = JSON.parse(props.said);
  // Of a large campaign news take the server a while: it spends a tenth of its time on them at most.
  if (kind === 'seen') due = Date.now() + 9 * (Date.now() - asked);
  else if (kind === 'counts' || kind === 'refused') tell(kind, text);
  else say(kind, text);
}

element.addEventListener('click', (event) => {
  const target = event.target.closest('button');
  if (!target) return;
  const { act, campaign, ask: asks, ...data } = target.dataset;
  if (campaign) {
    chosen = campaign;
    question(null);
    say('', '');
    tell('', '');
    keeping(list);
    wish('see');
  } else if (act === 'copy') {
    find('.link input').select();
    // Without https there is no clipboard for scripts, but what is selected can be copied.
    if (navigator.clipboard) navigator.clipboard.writeText(find('.link input').value).then(() => say('', 'Copied.'));
    else say('', 'Selected: press Ctrl C.');
  } else if (act === 'keep') question(null);
  else if (asks) question({ act, ask: asks, ...data });
  else if (act) wish(act, data);
});

const timer = setInterval(() => {
  if (!element.isConnected) clearInterval(timer);
  else if (!document.hidden && element.offsetParent && props.value && !asking && Date.now() > due) {
    due = Date.now() + PATIENCE;
    wish('see');
  }
}, EVERY);

for (const { name, title } of FORMS) node('option', '', select, title).value = name;
select.addEventListener('change', options);
watch('value', () => keeping(draw));
watch('said', heard);
watch('save', () => props.save && hand(JSON.parse(props.save)));
draw();
