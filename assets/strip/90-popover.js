// The popover: what is known of one token, near it, for as long as the pointer or the focus is there, or it is pinned.

const OPEN_AFTER = 150;
const CLOSE_AFTER = 250; // time to move the pointer from the token into the popover
const SPARE = 6; // between a line and the popover: more than is between a token and its line's edge
const LEAST = 160; // room for a popover worth reading

function later(page, after, act) {
  clearTimeout(page.timer);
  page.timer = setTimeout(act, after);
}

function leave(page) {
  later(page, CLOSE_AFTER, () => {
    echo(page, '');
    rest(page);
  });
}

// What stays when the pointer or the focus has left: the pinned token, or the focused one.
function rest(page) {
  const { popover, shown } = page;
  if (page.pinned || !shown) return;
  const focused = document.activeElement;
  if (popover.contains(focused) || popover.matches(':hover')) return;
  const column = [...page.columns.values()].find(({ host }) => host.contains(focused));
  if (!column) hide(page);
  else if (shown.column !== column || shown.index !== column.current) show(page, column, column.current);
}

function show(page, column, index) {
  clearTimeout(page.timer);
  unmark(page);
  page.shown = { column, index };
  page.lit = groupAt(column, index).node;
  page.lit.classList.add('strip-shown');
  if (page.lit === column.stop) page.lit.setAttribute('aria-expanded', 'true');
  fill(page);
}

function unmark(page) {
  page.lit?.classList.remove('strip-shown');
  page.shown?.column.stop?.setAttribute('aria-expanded', 'false');
  page.lit = null;
}

function hide(page) {
  clearTimeout(page.timer);
  unmark(page);
  Object.assign(page, { shown: null, pinned: false });
  echo(page, '');
  page.popover.hidden = true;
}

// Enter pins the token that has the focus, and goes into the popover.
function pin(page, column) {
  page.pinned = true;
  show(page, column, column.current);
  page.popover.querySelector('[data-does=pin]').focus({ preventScroll: true });
}

function close(page) {
  const inside = page.popover.contains(document.activeElement);
  const { column, index } = page.shown;
  hide(page);
  if (!inside) return;
  turnTo(column, index);
  focusQuietly(page, column.stop);
}

function branch(page, id) {
  const { column, index } = page.shown;
  const tokens = [...column.tokens.ids.slice(0, index), id];
  page.onBranch({ key: column.key, tokens, text: plain(column, tokens) });
}

// On the side with more room, clear of the token's lines, and never off the screen. Narrow screens have it as a sheet
// at the bottom, by the style sheet.
function settle({ popover, layer, lit }) {
  popover.style.cssText = '';
  if (!lit || matchMedia('(max-width: 640px)').matches) return;
  const boxes = [...lit.getClientRects()]; // of its lines: the longest says where
  const longest = boxes.reduce((most, each) => (each.width > most.width ? each : most));
  const room = (lines) => {
    const above = Math.min(...lines.map(({ top }) => top)) - 2 * SPARE;
    return [above, innerHeight - Math.max(...lines.map(({ bottom }) => bottom)) - 2 * SPARE];
  };
  const clear = room(boxes);
  const [above, below] = Math.max(...clear) >= LEAST ? clear : room([longest]);
  const frame = layer.getBoundingClientRect();
  const box = popover.getBoundingClientRect();
  const height = Math.min(box.height, Math.max(above, below));
  const left = clamp(longest.left - 16, 8, document.documentElement.clientWidth - box.width - 8);
  const top = below >= above ? innerHeight - below - SPARE : above + SPARE - height;
  popover.style.maxHeight = `${height}px`;
  popover.style.left = `${left - frame.left - layer.clientLeft}px`;
  popover.style.top = `${top - frame.top - layer.clientTop}px`;
}

function turnAndShow(page, step) {
  const { column, index } = page.shown;
  turnTo(column, index + step);
  show(page, column, index + step);
}

const ACTS = {
  back: (page) => turnAndShow(page, -1),
  on: (page) => turnAndShow(page, 1),
  pin(page) {
    page.pinned = !page.pinned;
    fill(page);
  },
  close,
  branch: (page, { dataset }) => branch(page, Number(dataset.id)),
};

// The same token in all lists.
function match({ popover }, target) {
  const row = target.closest('.strip-row');
  for (const each of popover.querySelectorAll('.strip-row')) {
    each.toggleAttribute('data-same', Boolean(row) && each.dataset.id === row.dataset.id);
  }
}

function makePopover(page) {
  const popover = node('div', 'strip-popover', page.layer);
  popover.setAttribute('role', 'dialog');
  popover.hidden = true;
  popover.addEventListener('click', ({ target }) => {
    const found = target.closest('button[data-does]');
    if (found) ACTS[found.dataset.does](page, found);
  });
  popover.addEventListener('pointerover', ({ target }) => {
    clearTimeout(page.timer);
    match(page, target);
  });
  popover.addEventListener('pointerleave', () => leave(page));
  popover.addEventListener('focusin', ({ target }) => match(page, target));
  popover.addEventListener('focusout', () => setTimeout(rest, 0, page));
  page.popover = popover;
}

// The document's own events; they end with this component, for a remounted one brings its own.
function listenOutside(page) {
  const life = new AbortController();
  const on = (target, type, react) => {
    const guarded = (event) => (page.layer.isConnected ? react(event) : life.abort());
    target.addEventListener(type, guarded, { signal: life.signal, capture: true });
  };
  on(document, 'keydown', (event) => {
    if (event.key !== 'Escape' || !page.shown) return;
    event.stopPropagation();
    close(page);
  });
  on(document, 'pointerdown', ({ target }) => {
    if (page.shown && !page.pinned && !page.popover.contains(target) && !target.closest?.('.strip-token')) hide(page);
  });
  on(window, 'resize', () => settle(page));
}
