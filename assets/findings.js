// Where the mixture fails: a list of tokens, each a button that leads into the reader. Text nodes only.
// `props.value` is the whole list as lines, one JSON object each.

const list = element.querySelector('.found');
const status = element.querySelector('.status');

function node(tag, className, parent, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
}

function row({ case: number, index, prompt, about, right, token, policy, base, loss }) {
  const item = node('button', 'finding', node('li', '', list));
  item.type = 'button';
  Object.assign(item.dataset, { case: number, index, right });
  node('span', 'right', item, right === 'base' ? 'base right' : 'mixture right');
  const said = node('span', 'said', item);
  for (const [title, text] of [['', token], ['mixture', policy], ['base', base]]) {
    if (title) node('span', 'law', said, title);
    node('q', title ? 'other' : 'token', said, text);
  }
  node('span', 'loss', item, `${loss.toFixed(1)} nats`);
  node('span', 'kind', item, about);
  node('span', 'prompt', item, prompt);
}

function draw() {
  list.replaceChildren();
  for (const text of (props.value || '').split('\n')) {
    if (!text) continue;
    const data = JSON.parse(text);
    if (data.t === 'failure') row(data);
    else if (data.t === 'status' || data.t === 'error') {
      status.dataset.kind = data.t;
      status.textContent = data.text;
    }
  }
}

element.addEventListener('click', (event) => {
  const item = event.target.closest('.finding');
  if (item) trigger('select', { case: Number(item.dataset.case), index: Number(item.dataset.index) });
});

watch('value', draw);
draw();
