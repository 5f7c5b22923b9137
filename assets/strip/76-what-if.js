// "What if": sliders of the weights. Colours and top candidates follow at once from the stored numbers.

const IDLE = 'Move a weight: colours and top candidates follow from the stored numbers.';
const STILL = 'Nothing changes, or the members that this needs did not run.';

function makeWhatIf(page, bar) {
  const opener = button('strip-opener', bar, 'What if', 'what-if');
  const panel = node('div', 'strip-whatif', page.tools);
  const unfold = (open) => {
    panel.hidden = !open;
    opener.setAttribute('aria-expanded', String(open));
  };
  unfold(false);
  opener.addEventListener('click', () => unfold(panel.hidden));
  Object.assign(page, {
    opener,
    sliders: node('div', 'strip-sliders', panel),
    outcome: node('p', 'strip-outcome', panel),
    runs: node('div', 'strip-runs', panel),
  });
}

function moved({ whatIf }) { return whatIf.beta !== null || Object.keys(whatIf.behaviours).length > 0; }

function reweigh(page) {
  for (const column of page.columns.values()) if (column.head) reweighed(column, page.whatIf);
  if (moved(page) && !DELTAS.includes(page.measure)) {
    page.whatIf.before = page.measure;
    setMeasure(page, 'deltas');
  } else for (const column of page.columns.values()) paint(page, column);
  if (page.shown) fill(page);
  const told = ordered(page);
  drawLegend(page, told);
  drawWhatIf(page, told);
}

function resetWeights(page) {
  const { before } = page.whatIf;
  page.whatIf = { behaviours: {}, beta: null, before: null };
  drawn.delete(page.sliders); // they are made anew, at their starts
  if (before) setMeasure(page, before);
  reweigh(page);
  soon(page);
}

// A slider for every weight that occurs, at the weight of the first emulated column that has it.
function drawSliders(page, told) {
  const { sliders, whatIf } = page;
  const start = {};
  for (const column of [...told].sort((one, two) => emulated(two) - emulated(one))) {
    for (const name of behavioursOf(column)) start[name] ??= column.own.behaviours[name] ?? 0;
  }
  const beta = told.find(({ head }) => scaled(head))?.own.beta;
  page.opener.hidden = !Object.keys(start).length && beta === undefined;
  redraw(sliders, [start, beta], () => {
    for (const [name, weight] of Object.entries(start)) {
      const move = (value) => { page.whatIf.behaviours[name] = value; };
      slider(page, name, 'Weight λ of its fine-tuning delta', whatIf.behaviours[name] ?? weight, move);
    }
    const move = (value) => { page.whatIf.beta = value; };
    if (beta !== undefined) slider(page, 'β', 'Weight of the up-scaling delta', whatIf.beta ?? beta, move);
    button('strip-reset', sliders, 'Reset', 'reset').addEventListener('click', () => resetWeights(page));
  });
}

function slider(page, title, explained, value, move) {
  const label = node('label', 'strip-slider', page.sliders);
  label.title = explained;
  node('span', '', label, title);
  const range = node('input', '', label);
  Object.assign(range, { type: 'range', min: 0, max: 2, step: 0.05, value });
  const told = node('output', '', label, number(value));
  range.addEventListener('input', () => {
    move(Number(range.value));
    setText(told, number(Number(range.value)));
    soon(page, 'weights');
  });
}

// Whose sentence it is, where there are several.
function naming(several, { label }) { return several.length > 1 ? `${label}: ` : ''; }

function drawWhatIf(page, told) {
  const changed = told.filter(({ mix, own }) => mix !== own);
  const lines = changed.map((column) => {
    const found = count(column.would, (id) => id !== null);
    return `${naming(changed, column)}top candidate would change at ${found} of ${column.would.length} tokens`;
  });
  setText(page.outcome, lines.join('; ') || (moved(page) ? STILL : IDLE));
  page.opener.toggleAttribute('data-moved', moved(page));
  page.sliders.querySelector('.strip-reset')?.toggleAttribute('disabled', !moved(page));
  if (page.onRegenerate) drawRuns(page, told.filter(emulated));
}

function drawRuns(page, able) {
  redraw(page.runs, able.map(({ key, label }) => [key, label]), () => {
    for (const { key, label } of able) {
      const whose = able.length > 1 ? `${label} ` : '';
      const made = button('strip-run', page.runs, `Run ${whose}with these weights`, 'regenerate');
      made.addEventListener('click', () => {
        page.onRegenerate({ key, ...asMoved(page.columns.get(key), page.whatIf) });
      });
    }
  });
  for (const each of page.runs.children) each.disabled = !moved(page);
}
