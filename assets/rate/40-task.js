// --- a comparison: what is shown, what is chosen, and its way to the server

const SETTLED = 300; // ms in which a new comparison takes no judgement: a key or a button pressed twice is none
const SETTLES = { vote: 'Kept.', edit: 'Kept in the stead of what you said before.', undo: 'Taken back.' };
let appeared = 0;
let looked = 0; // ms for which the task was in view
let since = 0; // when it came into view, 0 while it is not

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
  find('.lesson').hidden = task.number > 1 || mine.taught === (login || mine.code);
  reveal('');
  drawQuestions();
  drawDraft();
  [appeared, looked, since] = [performance.now(), 0, 0];
  show('task');
}

function drawWhere(done) {
  const { number, total } = task;
  find('.where').textContent = `Comparison ${number}${campaign ? ` of ${total}` : ''}${editing ? ', again' : ''}`;
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
    for (const mark of [1, 2, 3, 4, 5]) Object.assign(button(String(mark), row, '', '').dataset, { side, scale, mark });
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
  for (const each of every('[data-mark]')) {
    const { side, scale, mark: given } = each.dataset;
    press(each, draft.scales[side][scale] === Number(given));
  }
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
    scales: structuredClone(draft.scales), // what is sent again is what was sent
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
  wait(true);
  const reply = await asked;
  wait(false);
  if (reply.error) return say('error', reply.error);
  const { action, reveal: whose } = reply.receipt;
  const told = whose && verdict ? revealed(whose, verdict) : '';
  if (campaign || action === 'undo') {
    const next = reply.place || (await ask('place')).place;
    if (next) arrive(next, told);
  } else {
    rest('Thank you', 'Your judgement is kept, apart from those of studies.', ['free', 'undo', 'history', 'data']);
    reveal(told);
  }
  return say('kept', SETTLES[action]);
}

const revealed = ({ left, right }, verdict) => `The last pair: you said ${VERDICTS[verdict]}. A was ${left}. B was ${right}.`;

function wait(on) {
  busy = on;
  if (screen === 'task') drawDraft();
}

// Time counts only while the comparison is in view.
function look() {
  if (since) looked += performance.now() - since;
  since = screen === 'task' && inView() ? performance.now() : 0;
}
