// The reader of Inspect. Every text of a visitor or a model becomes a text node; nothing here writes HTML.
// `props.value` is the log of one reading, one JSON object a line; it is read anew whenever its first line changes.
// `props.save` is a file for the visitor, made by the server when asked for.

const find = (name) => element.querySelector(name);
const status = find('.status');
const bar = find('progress');
const card = find('.card');
const strips = tokenStrips({
  tools: find('.strip-tools'),
  shifts: find('.strip-shifts'),
  layer: find('.layer'),
  live: find('.strip-live'),
});
let strip = null;
let name = ''; // of the reading that is shown
let at = 0; // characters of its log that were read

function say(kind, text) {
  status.dataset.kind = kind;
  status.setAttribute('role', kind === 'error' ? 'alert' : 'status');
  status.textContent = text;
}

function reading(on) {
  bar.hidden = !on;
  find('.tools').toggleAttribute('data-ready', !on && Boolean(strip && strip.length));
}

const take = {
  look({ prompt, note, label, role, formula }) {
    if (strip) strip.clear();
    card.hidden = true;
    card.dataset.role = role;
    find('h2').textContent = label;
    find('.formula').textContent = formula;
    find('.after').textContent = note;
    find('.after').hidden = !note;
    find('.echo').textContent = prompt.length > 160 ? `${prompt.slice(0, 160)}…` : prompt;
    find('.note').textContent = '';
    strip = strips.column(0, find('.tokens'), { label, role });
    say('work', 'Reading');
    reading(true);
  },
  status({ text }) { say('work', text); },
  read({ done, total }) {
    bar.value = total ? done / total : 0;
    say('work', `Read ${done} of ${total} tokens`);
  },
  trace(chunk) {
    card.hidden = false;
    strip.append(chunk);
  },
  done({ text, summary, index }) {
    find('.note').textContent = summary;
    say('', text);
    reading(false);
    if (index !== null) strips.select(0, index, { focus: true, open: true });
  },
  error({ text }) {
    say('error', text);
    reading(false);
  },
};

function follow() {
  const log = props.value || '';
  const end = log.lastIndexOf('\n') + 1;
  const first = log.slice(0, log.indexOf('\n') + 1);
  if (first !== name) [name, at] = [first, first.length];
  for (const text of log.slice(at, end).split('\n')) {
    if (!text) continue;
    const data = JSON.parse(text);
    if (Object.hasOwn(take, data.t)) take[data.t](data);
  }
  at = Math.max(at, end);
}

function hand({ name: file, mime, text }) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type: mime }));
  link.download = file;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

// gradio's plot brings Plotly, and Plotly draws the picture.
function picture() {
  const plot = document.querySelector('#overview .js-plotly-plot');
  if (!plot || !window.Plotly) return say('error', 'There are no figures yet: press Score first.');
  const { offsetWidth: width, offsetHeight: height } = plot;
  window.Plotly.downloadImage(plot, { format: 'png', width, height, scale: 2, filename: 'eft-lab-figures' });
}

element.addEventListener('click', (event) => {
  const act = event.target.closest('button[data-act]')?.dataset.act;
  if (act === 'png') picture();
  else if (act === 'json' || act === 'html') trigger('download', { kind: act });
});

watch('value', follow);
watch('save', () => props.save && hand(JSON.parse(props.save)));
follow();
