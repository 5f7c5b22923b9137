// Colours: of a token only how much (data-m, in hundredths) and which way (data-sign) is said; the style sheet has the
// rest. What is in sight is painted at once, the rest when it comes into sight or when nothing was painted for a while.

const STEPS = 100;
const AWAY = 200; // a slider that moves again within this wants the time for what is in sight

// A rule a step and no style a token: tokens of one step share what the browser computes, thrice as fast.
function makeSteps() {
  const sheet = new CSSStyleSheet();
  for (let step = 1; step <= STEPS; step += 1) sheet.insertRule(`[data-m="${step}"] { --m: ${step / STEPS}; }`);
  document.adoptedStyleSheets.push(sheet);
}

// The value of a group, of its tokens' the farthest from zero, as a share of the scale; null if unknown.
function loudest({ values }, { from, to }) {
  let found = values[from];
  for (let i = from + 1; i < to; i += 1) {
    const value = values[i];
    if (value !== null && (found === null || Math.abs(value) > Math.abs(found))) found = value;
  }
  return found;
}

function paint(page, column) {
  if (!column.head) return;
  const { of } = MEASURES[page.measure];
  column.values = column.tokens.ids.map((_, i) => of(column, i));
  column.known = column.values.some((value) => value !== null);
  column.gaps = column.known && column.values.includes(null);
  column.host.toggleAttribute('data-known', column.known);
  for (const block of column.blocks) {
    block.stale = true;
    if (block.near) paintBlock(page, column, block);
  }
  clearTimeout(page.away);
  page.away = setTimeout(() => paintAway(page), AWAY);
}

function paintBlock(page, column, block) {
  block.stale = false;
  const start = BLOCK * column.blocks.indexOf(block);
  for (const each of column.groups.slice(start, start + BLOCK)) {
    const value = loudest(column, each);
    heat(each, value === null ? null : shareOf(value, MEASURES[page.measure]));
    let would = false;
    for (let i = each.from; i < each.to; i += 1) would = would || column.would[i] !== null;
    if (would !== Boolean(each.would)) each.node.toggleAttribute('data-would', (each.would = would));
  }
}

// One block out of sight, and after a breath the next.
function paintAway(page) {
  for (const column of page.columns.values()) {
    const block = column.blocks.find(({ stale }) => stale);
    if (!block) continue;
    paintBlock(page, column, block);
    page.away = setTimeout(() => paintAway(page), 16);
    return;
  }
}

function heat(each, share) {
  const level = share === null ? 0 : Math.round(STEPS * Math.abs(share));
  const sign = share === null ? 'unknown' : !level ? '' : share > 0 ? 'up' : 'down';
  if (sign !== (each.sign ?? '')) {
    if (sign) each.node.dataset.sign = sign;
    else delete each.node.dataset.sign;
  }
  if (level !== (each.level ?? 0)) {
    if (level) each.node.dataset.m = level;
    else delete each.node.dataset.m;
  }
  each.sign = sign;
  each.level = level;
}
