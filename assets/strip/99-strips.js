// What others call: the strips of one page, and a face of each column.
//   tokenStrips({ tools, shifts, layer, live, onBranch, onRegenerate, branchable })
// tools, shifts, live: nodes for the toolbar, the line of shifts, and what is said; layer: a positioned ancestor of
// all, for the popover. Without onBranch and onRegenerate what they are for is not offered.

function tokenStrips({ tools, shifts, layer, live, onBranch, onRegenerate, branchable }) {
  const page = {
    tools, shifts, layer, onBranch, onRegenerate, branchable,
    columns: new Map(), // key -> column
    measure: 'total_variation',
    whatIf: { behaviours: {}, beta: null, before: null }, // weights as moved; the measure that was shown before
    shown: null, pinned: false, lit: null, // what the popover shows, { column, index }; whether it stays; its span
    echoed: [], silent: false, timer: 0, away: 0, frame: 0, due: { weights: false, all: false },
    spoken: node('span', 'strip-live', live),
  };
  page.spoken.setAttribute('aria-live', 'polite');
  shifts.classList.add('strip-shifts');
  makeSteps();
  makeToolbar(page);
  makePopover(page);
  listenOutside(page);
  return faceOfAll(page);
}

function faceOfAll(page) {
  const { columns } = page;
  return {
    column(key, host, about) {
      const known = columns.get(key);
      if (known && known.host !== host) remove(page, known);
      if (!columns.has(key)) columns.set(key, found(page, key, host));
      describe(page, columns.get(key), about);
      return columns.get(key).face;
    },
    relabel(key, about) {
      if (columns.has(key)) describe(page, columns.get(key), about);
    },
    select(key, index, how) {
      const column = columns.get(key);
      if (column?.groups.length) select(page, column, index, how);
    },
    get measure() { return page.measure; },
    set measure(name) { setMeasure(page, name); },
    get measures() {
      return Object.entries(MEASURES).map(([name, { title, low, high, unit }]) => ({ name, title, low, high, unit }));
    },
  };
}

// Makes a column in its host.
function found(page, key, host) {
  const column = { key, host, label: String(key), role: '', life: new AbortController(), ...blank() };
  column.watch = watchOf(page, column);
  column.face = face(page, column);
  host.classList.add('strip');
  host.dir = 'auto';
  host.setAttribute('role', 'group');
  host.replaceChildren();
  listen(page, column);
  return column;
}

function face(page, column) {
  return {
    append: (chunk) => append(page, column, chunk),
    clear: () => empty(page, column),
    remove: () => remove(page, column),
    get length() { return column.tokens.ids.length; },
    get text() { return column.groups.map(({ text }) => text).join(''); },
  };
}

function append(page, column, chunk) {
  take(column, chunk, page.whatIf);
  const first = !column.groups.length;
  const focused = build(column);
  if (column.groups.length && (focused || first)) {
    turnTo(column, Math.min(column.current, column.tokens.ids.length - 1));
    if (focused) focusQuietly(page, column.stop);
  }
  paint(page, column);
  soon(page);
}

function empty(page, column) {
  if (page.shown?.column === column) hide(page);
  column.watch.disconnect();
  column.host.replaceChildren();
  delete column.host.dataset.known;
  Object.assign(column, blank());
  soon(page);
}

function remove(page, column) {
  empty(page, column);
  column.life.abort();
  column.host.classList.remove('strip');
  page.columns.delete(column.key);
}

function describe(page, column, { label, role } = {}) {
  if (label !== undefined) column.label = label;
  if (role !== undefined) column.role = role;
  column.host.setAttribute('aria-label', `Tokens of ${column.label}`);
  if (column.role) column.host.dataset.role = column.role;
  soon(page);
}

// One frame gathers what many calls ask for: that the weights moved, or that all may be different.
function soon(page, what = 'all') {
  page.due[what] = true;
  page.frame ||= requestAnimationFrame(() => {
    const { weights, all } = page.due;
    Object.assign(page, { frame: 0, due: { weights: false, all: false } });
    if (weights) reweigh(page);
    if (all) refresh(page);
  });
}

function refresh(page) {
  const told = ordered(page);
  page.tools.hidden = !told.length;
  drawLegend(page, told);
  drawSliders(page, told);
  drawWhatIf(page, told);
  drawShifts(page, told);
}

// Columns that have tokens, as they stand on the page.
function ordered({ columns }) {
  const told = [...columns.values()].filter((column) => column.groups.length);
  const after = (one, two) => one.host.compareDocumentPosition(two.host) & Node.DOCUMENT_POSITION_PRECEDING;
  return told.sort((one, two) => (after(one, two) ? 1 : -1));
}
