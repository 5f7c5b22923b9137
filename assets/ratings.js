// The head of Results, Ratings: which votes these are, and what the figure shows. Text nodes only.
// `props.value` is one JSON object; `props.busy` what is being done, or nothing; `props.save` a file for the visitor.

const find = (name) => element.querySelector(name);
const status = find('.status');

function draw() {
  const { status: text, error, title, caption } = JSON.parse(props.value);
  status.dataset.kind = error ? 'error' : '';
  status.setAttribute('role', error ? 'alert' : 'status');
  status.textContent = text;
  find('.bar').hidden = !title;
  find('h2').textContent = title;
  find('.caption').textContent = caption;
}

// What was read before stays in view, paler, while votes are read.
function wait() {
  element.closest('#ratings').toggleAttribute('data-busy', Boolean(props.busy));
  if (props.busy) {
    status.dataset.kind = '';
    status.textContent = props.busy;
  } else draw();
}

function hand({ name, mime, text }) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type: mime }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

element.addEventListener('click', (event) => {
  const kind = event.target.closest('button')?.dataset.kind;
  if (kind) trigger('download', { kind });
});

watch('value', draw);
watch('busy', wait);
watch('save', () => props.save && hand(JSON.parse(props.save)));
draw();
