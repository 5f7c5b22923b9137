// --- buttons and keys

const KEYS = {
  1: 'left', ArrowLeft: 'left', 2: 'right', ArrowRight: 'right', 3: 'both_good', ArrowUp: 'both_good',
  4: 'both_bad', ArrowDown: 'both_bad', 0: 'unsure',
};
const ACT_KEYS = { u: 'undo', e: 'history', g: 'guide', '?': 'keys' };

const acts = {
  free, start, begin, copy, undo, history: earlier, guide, keys, data, cast, again,
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
  if (!inView() || dialog.open || event.target.closest('input:not([type=checkbox]), textarea, select')) return;
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
  await invite();
  for (const [kind, text] of told) say(kind, text);
}

main();
