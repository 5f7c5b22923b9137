// The scrubber of Sweep. Every text of a visitor or a model becomes a text node; nothing here writes HTML.
// `props.value` is the log of one run, one JSON object a line; it is read anew whenever its first line changes.
// Answers are numbered with the prompt slowest, then the setting, then the sample; of axes the last is fastest.

const find = (name) => element.querySelector(name);
const status = find('.status');
const bar = find('progress');
const answersNode = find('.answers');
const rungsNode = find('.rungs');
const MANY = 100; // answers of a ladder; of more, those out of sight are not laid out
let name = ''; // of the run that is shown
let at = 0; // characters of its log that were read
let run = null; // what is swept: axes, settings, prompts, samples; answers and growing texts by number
let place = { prompt: 0, at: [], along: 0, first: false }; // what is in view; `along` is the axis that was moved last

function node(tag, className, parent, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  if (parent) parent.append(made);
  return made;
}

function say(kind, text) {
  status.dataset.kind = kind;
  status.setAttribute('role', kind === 'error' ? 'alert' : 'status');
  status.textContent = text;
}

// --- where things are

const settingAt = (places) => run.axes.reduce((number, axis, i) => number * axis.values.length + places[i], 0);
const numberAt = (places, sample) => (place.prompt * run.settings.length + settingAt(places)) * run.samples + sample;
const moved = (index) => place.at.map((value, axis) => (axis === place.along ? index : value));
const samples = () => Array.from({ length: run.samples }, (_, sample) => sample);

// The places that an answer is compared with; null where there is nothing before it.
function reference(index) {
  if (index === 0) return null;
  return moved(place.first ? 0 : index - 1);
}

// --- answers

function shared(pieces, others) {
  let length = 0;
  while (length < pieces.length && pieces[length] === others[length]) length += 1;
  return length;
}

// An answer as nodes: what equals the other setting's dimmed, the first token that differs marked.
function write(host, number, other) {
  const answer = run.answers.get(number);
  host.toggleAttribute('data-failed', Boolean(answer && answer.failed));
  if (!answer) return node('span', 'growing', host, (run.grown.get(number) || '').trimStart());
  const before = other === null ? undefined : run.answers.get(other);
  const same = before ? shared(answer.p, before.p) : 0;
  if (same) node('span', 'same', host, answer.p.slice(0, same).join(''));
  if (before && same < answer.p.length) {
    const word = answer.p[same].trimStart();
    node('span', '', host, answer.p[same].slice(0, answer.p[same].length - word.length));
    node('mark', '', host, word);
  }
  node('span', '', host, answer.p.slice(before ? same + 1 : 0).join(''));
  if (answer.failed) return node('span', 'note', host, answer.end);
  if (before && same === answer.p.length && same < before.p.length) node('mark', 'short', host, '').title = 'ends here';
  return host;
}

function grades(host, number) {
  const answer = run.answers.get(number);
  for (const [measure, value] of Object.entries(answer ? answer.g : {})) {
    const mark = node('span', 'grade', host);
    mark.dataset.yes = value ? 'yes' : 'no';
    node('span', 'sign', mark, value ? '✓' : '✗').setAttribute('aria-hidden', 'true');
    node('span', '', mark, ` ${measure}`);
    node('span', 'unseen', mark, value ? ': yes' : ': no');
  }
}

function foot(host, number) {
  const answer = run.answers.get(number);
  const line = node('p', 'note', host);
  if (answer) node('span', 'length', line, answer.failed ? 'failed' : `${answer.k} tok · ${answer.end}`);
  grades(line, number);
}

function drawAnswer() {
  const index = place.at[place.along];
  const other = reference(index);
  const { label, role } = run.settings[settingAt(place.at)];
  find('.scrub .card').dataset.role = role;
  find('.setting').textContent = run.axes.map((axis, i) => `${axis.title} = ${axis.values[place.at[i]]}`).join(' · ');
  find('.scrub .formula').textContent = label;
  answersNode.replaceChildren();
  for (const sample of samples()) {
    const number = numberAt(place.at, sample);
    const text = node('p', 'answer', answersNode);
    text.dir = 'auto';
    write(text, number, other && numberAt(other, sample));
    foot(answersNode, number);
  }
}

// --- the ladder: all answers along one axis

function fillRung(rung, index) {
  const other = reference(index);
  rung.body.replaceChildren();
  for (const sample of samples()) {
    const number = numberAt(moved(index), sample);
    const row = node('span', 'row', rung.body);
    const text = node('span', 'answer', row);
    text.dir = 'auto';
    write(text, number, other && numberAt(other, sample));
    grades(node('span', 'grades', row), number);
  }
}

function drawLadder() {
  const axis = run.axes[place.along];
  const fixed = run.axes
    .map(({ title, values }, i) => `${title} = ${values[place.at[i]]}`)
    .filter((_, i) => i !== place.along);
  find('.ladder h3').textContent = [`Along ${axis.title}`, ...fixed].join(', at ');
  rungsNode.replaceChildren();
  rungsNode.toggleAttribute('data-many', axis.values.length * run.samples > MANY);
  run.rungs = axis.values.map((value, index) => {
    const button = node('button', 'rung', node('li', '', rungsNode));
    button.type = 'button';
    button.dataset.index = index;
    node('span', 'value', button, value);
    const rung = { button, body: node('span', 'body', button) };
    fillRung(rung, index);
    return rung;
  });
  drawHere();
}

function drawHere() {
  const here = place.at[place.along];
  run.rungs.forEach(({ button }, index) => {
    if (index === here) button.setAttribute('aria-current', 'true');
    else button.removeAttribute('aria-current');
  });
  // Into sight within the ladder; the page itself stays where it is.
  const line = run.rungs[here].button.getBoundingClientRect();
  const sight = rungsNode.getBoundingClientRect();
  if (line.top < sight.top) rungsNode.scrollTop -= sight.top - line.top;
  else if (line.bottom > sight.bottom) rungsNode.scrollTop += line.bottom - sight.bottom;
}

// The answers that came: only the lines that they stand on, and those that are compared with them, are drawn anew.
function drawNews(numbers) {
  const dirty = new Set();
  for (const number of numbers) {
    const setting = Math.floor(number / run.samples);
    if (Math.floor(setting / run.settings.length) !== place.prompt) continue;
    const index = indexOf(setting % run.settings.length);
    if (index !== null) dirty.add(index).add(index + 1);
    if (index === 0 && place.first) run.rungs.forEach((_, each) => dirty.add(each));
  }
  for (const index of dirty) if (run.rungs[index]) fillRung(run.rungs[index], index);
  if (dirty.has(place.at[place.along])) drawAnswer();
}

// The place of a setting on the ladder, null if it is not on it.
function indexOf(setting) {
  let rest = setting;
  const places = [];
  for (const { values } of [...run.axes].reverse()) {
    places.unshift(rest % values.length);
    rest = Math.floor(rest / values.length);
  }
  return places.every((value, axis) => axis === place.along || value === place.at[axis]) ? places[place.along] : null;
}

// --- sliders and prompts

function drawSliders() {
  const host = find('.sliders');
  host.replaceChildren();
  run.axes.forEach((axis, number) => {
    const label = node('label', 'slider', host);
    node('span', 'name', label, axis.title);
    const input = node('input', '', label);
    Object.assign(input, { type: 'range', min: 0, max: axis.values.length - 1, step: 1, value: place.at[number] });
    const output = node('output', '', label, axis.values[place.at[number]]);
    input.setAttribute('aria-valuetext', output.textContent);
    input.disabled = axis.values.length < 2;
    input.addEventListener('input', () => go(number, Number(input.value)));
    axis.nodes = { input, output };
  });
}

function go(along, index) {
  const turned = along !== place.along;
  place.along = along;
  place.at = moved(index);
  const { values, nodes } = run.axes[along];
  nodes.input.value = index;
  nodes.output.textContent = values[index];
  nodes.input.setAttribute('aria-valuetext', values[index]);
  if (turned) drawLadder();
  else drawHere();
  drawAnswer();
}

function ask(prompt) {
  place.prompt = Math.min(run.prompts.length - 1, Math.max(0, prompt));
  find('.which select').value = place.prompt;
  find('[data-act=before]').disabled = place.prompt === 0;
  find('[data-act=after]').disabled = place.prompt === run.prompts.length - 1;
  find('.echo').textContent = run.prompts[place.prompt];
  drawLadder();
  drawAnswer();
}

function drawPrompts() {
  const select = find('.which select');
  find('.which').hidden = run.prompts.length < 2;
  select.replaceChildren();
  run.prompts.forEach((prompt, number) => {
    const text = prompt.length > 80 ? `${prompt.slice(0, 80)}…` : prompt;
    node('option', '', select, `${number + 1} of ${run.prompts.length}: ${text}`).value = number;
  });
}

function against(first) {
  place.first = first;
  find('[data-act=previous]').setAttribute('aria-pressed', String(!first));
  find('[data-act=first]').setAttribute('aria-pressed', String(first));
  drawLadder();
  drawAnswer();
}

// --- the log

function running(on) {
  bar.hidden = !on;
  find('.tools').hidden = on || !run || !run.answers.size;
}

function remember(query) {
  // Parameters of others, such as __theme, stay as they are.
  const kept = [...new URLSearchParams(location.search)].filter(([key]) => key.startsWith('__'));
  const extra = kept.map(([key, value]) => `&${encodeURIComponent(key)}=${encodeURIComponent(value)}`).join('');
  history.replaceState(history.state, '', location.pathname + query + extra + location.hash);
}

let news = new Set();

const take = {
  sweep({ axes, settings, prompts, samples: count, query }) {
    run = { axes, prompts, samples: count, query, answers: new Map(), grown: new Map(), rungs: [] };
    run.settings = settings.map(([label, role]) => ({ label, role }));
    place = { prompt: 0, at: axes.map(() => 0), along: 0, first: place.first };
    find('.about').hidden = true;
    find('.swept').hidden = false;
    find('.verdict').textContent = '';
    if (query) remember(query);
    drawPrompts();
    drawSliders();
    ask(0);
    say('work', 'Waiting for the models');
    bar.value = 0;
    running(true);
  },
  status({ text }) { say('work', text); },
  progress({ done, total, text }) {
    bar.value = total ? done / total : 0;
    say('work', text);
  },
  grown({ texts }) {
    for (const [key, text] of Object.entries(texts)) {
      const number = Number(key);
      run.grown.set(number, (run.grown.get(number) || '') + text);
      news.add(number);
    }
  },
  answer(answer) {
    run.answers.set(answer.n, answer);
    run.grown.delete(answer.n);
    news.add(answer.n);
  },
  verdict({ text }) { find('.verdict').textContent = text; },
  done({ text }) {
    say('', text);
    running(false);
  },
  error({ text }) {
    say('error', text);
    running(false);
  },
};

function follow() {
  const log = props.value || '';
  const end = log.lastIndexOf('\n') + 1;
  const first = log.slice(0, log.indexOf('\n') + 1);
  if (first !== name) [name, at] = [first, first.length];
  news = new Set();
  for (const text of log.slice(at, end).split('\n')) {
    if (!text) continue;
    const data = JSON.parse(text);
    if (Object.hasOwn(take, data.t)) take[data.t](data);
  }
  at = Math.max(at, end);
  if (run && news.size) drawNews(news);
}

// An update that came before this component was on the page leaves it without a count until the next one.
function count() {
  if (!props.count) return;
  const line = find('.count');
  const { text, error } = JSON.parse(props.count);
  line.textContent = text;
  line.dataset.kind = error ? 'error' : '';
}

function hand({ name: file, mime, text }) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type: mime }));
  link.download = file;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

async function copy() {
  if (!run.query) return say('error', 'This sweep has no link: save its file, and hand that on.');
  const link = location.origin + location.pathname + run.query;
  try {
    await navigator.clipboard.writeText(link);
    return say('', 'Link copied');
  } catch {
    return say('', link); // no clipboard on this page (http, or refused): the link itself, to be copied by hand
  }
}

const acts = {
  save: () => trigger('download', {}),
  copy,
  before: () => ask(place.prompt - 1),
  after: () => ask(place.prompt + 1),
  previous: () => against(false),
  first: () => against(true),
};

element.addEventListener('click', (event) => {
  const target = event.target.closest('button');
  if (!target) return;
  if (target.classList.contains('rung')) go(place.along, Number(target.dataset.index));
  else if (Object.hasOwn(acts, target.dataset.act)) acts[target.dataset.act]();
});
find('.which select').addEventListener('change', (event) => ask(Number(event.target.value)));

watch('value', follow);
watch('count', count);
watch('save', () => props.save && hand(JSON.parse(props.save)));
count();
follow();
