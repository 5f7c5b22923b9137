// The tables of Results, and how they were measured. Text nodes only; `props.value` is one JSON object, or nothing.

const find = (name) => element.querySelector(name);

function node(tag, className, parent, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
}

// A value and its interval in one cell: the interval is the quieter part.
function cell(row, text, numeric) {
  const made = node('td', numeric ? 'number' : '', row);
  const [value, interval] = numeric ? text.split(/ (?=\[)/) : [text];
  node('span', '', made, value);
  if (interval) node('span', 'interval', made, ` ${interval}`);
}

// Wide tables scroll inside their own box, which keys can reach.
function table({ title, heads, numeric, cells }, parent) {
  const box = node('div', 'box', parent);
  box.tabIndex = 0;
  box.setAttribute('role', 'region');
  box.setAttribute('aria-label', title || 'Results');
  const made = node('table', '', box);
  const head = node('tr', '', node('thead', '', made));
  heads.forEach((text, i) => { node('th', numeric[i] ? 'number' : '', head, text).scope = 'col'; });
  const rows = node('tbody', '', made);
  for (const texts of cells) {
    const row = node('tr', '', rows);
    texts.forEach((text, i) => cell(row, text, numeric[i]));
  }
}

function draw() {
  const data = props.value ? JSON.parse(props.value) : null;
  find('.tables').hidden = !data;
  for (const name of ['.rows', '.more', '.how']) find(name).replaceChildren();
  if (!data) return;
  table(data.table, find('.rows'));
  for (const each of data.more) {
    const folded = node('details', '', find('.more'));
    node('summary', '', folded, each.title);
    table(each, folded);
  }
  for (const [name, text] of data.how) {
    node('dt', '', find('.how'), name);
    node(name === 'Command' ? 'code' : 'span', '', node('dd', '', find('.how')), text);
  }
}

watch('value', draw);
draw();
