// The form of a new family: a place for every role and size, or a TOML text. Nothing of it is ever replaced from
// outside, so a mistake loses nothing.

const EXAMPLE = `[my-family]
title = "My family"
sizes = ["1b", "7b"]

[my-family.base]
1b = "/data/models/my-1b"
7b = "org/my-7b"

[my-family.tuned.instruct]
1b = { model = "org/my-1b-instruct", revision = "main" }
`;
const form = element.querySelector('form');
const grid = form.querySelector('.grid');
const places = new Map(); // what was typed, by role and size, those that are not shown now too

form.elements.toml.placeholder = EXAMPLE;

function names(field) {
  return [...new Set(form.elements[field].value.split(',').map((name) => name.trim()).filter(Boolean))].slice(0, 16);
}

function draw() {
  grid.replaceChildren();
  for (const behaviour of ['', ...names('behaviours')]) {
    for (const size of names('sizes')) {
      const label = document.createElement('label');
      const name = document.createElement('span');
      const place = document.createElement('input');
      name.textContent = behaviour ? `tuned[${behaviour}][${size}]` : `base[${size}]`;
      place.dataset.place = `${behaviour}/${size}`;
      place.value = places.get(place.dataset.place) ?? '';
      place.maxLength = 1000;
      place.spellcheck = false;
      place.placeholder = '/folder or org/name';
      label.append(name, place);
      grid.append(label);
    }
  }
}

function chosen() {
  return form.elements.kind.value;
}

function send(act) {
  const values = Object.fromEntries(['name', 'title', 'sizes', 'behaviours', 'toml'].map(
    (name) => [name, form.elements[name].value],
  ));
  const shown = [...grid.querySelectorAll('input')].map((place) => [place.dataset.place, place.value]);
  trigger('submit', { act, kind: chosen(), ...values, places: Object.fromEntries(shown) });
}

form.addEventListener('input', (event) => {
  const { name, dataset, value } = event.target;
  if (dataset.place !== undefined) places.set(dataset.place, value);
  if (name === 'sizes' || name === 'behaviours') draw();
  if (name === 'kind') {
    form.querySelector('.fields').hidden = chosen() === 'toml';
    form.querySelector('.toml').hidden = chosen() !== 'toml';
  }
});
form.addEventListener('submit', (event) => {
  event.preventDefault();
  send('check');
});
form.querySelector('[data-act=add]').addEventListener('click', () => send('add'));
draw();
