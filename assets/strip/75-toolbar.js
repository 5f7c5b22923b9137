// The toolbar's line: the measure, its legend, and the button of "What if".

const MARKS = {
  recovered: ['recovered', 'The draft had proposed another token here: it was rejected, and this one drawn instead.'],
  would: ['top would change', 'At these weights another token would be the most probable here.'],
  unknown: ['unknown', 'The models that this measure needs did not run here.'],
};

function makeToolbar(page) {
  const { tools } = page;
  tools.classList.add('strip-tools');
  tools.hidden = true;
  const bar = node('div', 'strip-bar', tools);
  const picker = node('label', 'strip-picker', bar, 'Colour ');
  page.pick = node('select', '', picker);
  for (const [name, { title }] of Object.entries(MEASURES)) node('option', '', page.pick, title).value = name;
  page.hint = node('span', 'strip-hint', picker);
  page.hint.setAttribute('aria-hidden', 'true'); // the select has it as its description
  page.legend = node('span', 'strip-legend', bar);
  page.pick.addEventListener('change', () => {
    page.whatIf.before = null;
    setMeasure(page, page.pick.value);
  });
  makeWhatIf(page, bar);
  hintAt(page);
}

function hintAt({ pick, hint, measure }) {
  pick.value = measure;
  pick.setAttribute('aria-description', MEASURES[measure].hint);
  setText(hint, MEASURES[measure].hint);
}

function setMeasure(page, name) {
  if (!Object.hasOwn(MEASURES, name)) throw new Error(`no measure is called ${name}`);
  page.measure = name;
  hintAt(page);
  for (const column of page.columns.values()) paint(page, column);
  soon(page);
}

function drawLegend({ legend, measure }, told) {
  const { low, high, unit } = MEASURES[measure];
  const marks = [];
  if (told.some(({ tokens }) => tokens.fates.includes('r'))) marks.push('recovered');
  if (told.some(({ would }) => would.some((id) => id !== null))) marks.push('would');
  if (told.some(({ gaps }) => gaps)) marks.push('unknown');
  redraw(legend, [measure, marks], () => {
    for (let step = 0; high > low && step < 5; step += 1) {
      const value = low + (step * (high - low)) / 4;
      const swatch = node('span', 'strip-swatch', legend, String(value).replace('-', '−'));
      heat({ node: swatch }, shareOf(value, MEASURES[measure]));
    }
    if (unit) node('span', 'strip-unit', legend, unit);
    for (const mark of marks) {
      const key = node('span', 'strip-key', legend, MARKS[mark][0]);
      key.dataset.mark = mark;
      key.title = MARKS[mark][1];
    }
  });
}
