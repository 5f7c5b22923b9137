// The head of Results: an experiment's question and findings, and how a run stands. Text nodes only.
// `props.value` is what is shown, `props.run` how a run stands, one JSON object each; `props.save` a file for the visitor.

const find = (name) => element.querySelector(name);
const status = find('.status');
const bar = find('progress');
const agree = find('[data-act=agree]');
let calls = 0; // that the judge may get, as the server asked

function node(tag, className, parent, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
}

function draw() {
  if (!props.value) return;
  const { title, question, grading, origin, findings, caption, files } = JSON.parse(props.value);
  find('h2').textContent = title;
  for (const [name, text] of Object.entries({ question, grading, origin, caption })) find(`.${name}`).textContent = text;
  find('.tools').hidden = !files;
  find('.claims').replaceChildren();
  for (const { mark, claim } of findings) {
    const item = node('li', '', find('.claims'));
    node('span', 'mark', item, mark).dataset.mark = mark;
    node('span', 'claim', item, claim);
  }
}

function follow() {
  if (!props.run) return;
  const { state, text, share, calls: asked } = JSON.parse(props.run);
  status.dataset.kind = state;
  status.setAttribute('role', state === 'error' ? 'alert' : 'status');
  status.textContent = text;
  bar.hidden = state !== 'work';
  if (share === null) bar.removeAttribute('value');
  else bar.value = share;
  calls = asked;
  agree.hidden = state !== 'ask';
}

function hand({ name, mime, text }) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type: mime }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

element.addEventListener('click', (event) => {
  const button = event.target.closest('button');
  if (!button) return;
  if (button === agree) trigger('submit', { agreed: calls });
  else trigger('download', { kind: button.dataset.kind });
});

watch('value', draw);
watch('run', follow);
watch('save', () => props.save && hand(JSON.parse(props.save)));
draw();
