// What changed between the policy and the small policy, and the tokens where most did.

const MOST = 5;
const NOTICED = 0.1; // total variation below this is no shift worth a line

function changedCount({ tops, smallTops }) {
  return count(tops, (id, i) => id !== null && smallTops[i] !== null && id !== smallTops[i]);
}

// As the paper ranks them: by total variation between the policy and the small policy.
function biggest(told) {
  const found = [];
  for (const column of told.filter(({ head }) => scaled(head))) {
    const { ids, total_variation: far, promoted } = column.tokens;
    for (let i = 0; i < ids.length; i += 1) {
      if (at(far?.small, i) >= NOTICED && at(promoted?.shift, i) !== null) found.push({ column, i, far: far.small[i] });
    }
  }
  return found.sort((one, two) => two.far - one.far).slice(0, MOST);
}

function drawShifts(page, told) {
  const { shifts } = page;
  const apart = told.filter(({ head, smallTops }) => scaled(head) && smallTops.some((id) => id !== null));
  const counts = apart.map((column) => {
    return `${naming(apart, column)}${changedCount(column)} of ${column.tops.length} tokens changed`;
  });
  const found = biggest(told);
  const what = found.map(({ column, i }) => [column.key, column.label, i, column.tokens.promoted.ids[i]]);
  shifts.hidden = !counts.length;
  redraw(shifts, [counts, what], () => {
    for (const told of counts) node('span', 'strip-changed', shifts, told);
    if (found.length) node('span', 'strip-most', shifts, 'most:');
    for (const { column, i } of found) {
      const jump = button('strip-jump', shifts, naming(apart, column), 'jump');
      writeMove(jump, column, i);
      const { key } = column;
      jump.addEventListener('click', () => select(page, page.columns.get(key), i));
    }
  });
}
