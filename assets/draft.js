// A campaign that is being made: its policies by number, its first prompts, and what it takes. Text nodes only.
// `props.value` is all of it, `props.said` what creating it came to, one JSON object each.

const find = (name) => element.querySelector(name);
const status = find('.status');

function node(tag, className, parent, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
}

function say(kind, text) {
  status.dataset.kind = kind;
  status.setAttribute('role', kind === 'error' ? 'alert' : 'status');
  status.textContent = text;
}

function draw() {
  if (!props.value) return;
  const { policies, prompts, rows, cost, error, missing } = JSON.parse(props.value);
  for (const name of ['.policies', '.prompts', '.cost']) find(name).replaceChildren();
  for (const { label, formula } of policies) {
    const item = node('li', '', find('.policies'));
    node('span', 'label', item, label);
    node('span', 'formula', item, formula);
  }
  find('.count').textContent = prompts;
  for (const { name, prompt, gold, better } of rows) {
    const item = node('li', '', find('.prompts'));
    node('span', 'name', item, name);
    node('span', 'prompt', item, prompt).dir = 'auto';
    if (gold) node('span', 'gold', item, `gold: ${better}`).dir = 'auto';
  }
  for (const text of cost) node('li', '', find('.cost'), text);
  say(error ? 'error' : '', error || missing);
}

function heard() {
  if (!props.said) return;
  const { t: kind, text } = JSON.parse(props.said);
  say(kind, text);
}

watch('value', draw);
watch('said', heard);
draw();
