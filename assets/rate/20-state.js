// The Rate tab: two answers at a time. Every text of a visitor or a model becomes a text node; nothing writes HTML.
// The files of this folder are one script, in the order of their numbers. `props.reply` is the server's last answer.

const MINE = 'eft-lab.rate';
const SIDES = { left: 'A', right: 'B' };
const VERDICTS = { left: 'A', right: 'B', both_good: 'both good', both_bad: 'both bad', unsure: "can't judge" };

const find = (name) => element.querySelector(name);
const every = (name) => [...element.querySelectorAll(name)];
const mine = { code: '', taught: '', atOnce: false, ...remembered(MINE) }; // what this browser knows of its rater
const dialog = find('dialog');
const box = outbox((message) => trigger('submit', message), late);
let campaign = new URLSearchParams(location.search).get('rate') || ''; // "": what the visitor compared
let asks = null; // the campaign's invitation
let login = ''; // a Hugging Face name, as the server knows it
let stranger = false; // the code of this browser is none of the server's
let screen = '';
let task = null; // what is shown, and `draft` what was chosen for it
let draft = {};
let editing = false;
let busy = false; // a judgement is under way

function node(tag, className, parent, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  if (parent) parent.append(made);
  return made;
}

function button(text, parent, act, className = 'quiet') {
  const made = node('button', className, parent, text);
  made.type = 'button';
  if (act) made.dataset.act = act;
  return made;
}

function say(kind, text) {
  const notice = find('.notice');
  notice.dataset.kind = kind;
  notice.setAttribute('role', kind === 'error' ? 'alert' : 'status');
  notice.textContent = text;
}

function keep(changes) {
  Object.assign(mine, changes);
  remember(MINE, mine);
}

const inView = () => !document.hidden && element.offsetParent !== null;
const counted = (number, noun) => `${number} ${noun}${number === 1 ? '' : 's'}`;

// --- the server

const ask = (act, values = {}) => box.ask({ id: newKey(), act, campaign, code: mine.code, ...values });

function late({ act }, reason) {
  if (act !== 'cast') return say('work', `Waiting: ${reason}. It is asked again.`);
  return say('error', `Not kept yet: ${reason}. Your judgement stays in this browser and is sent again.`);
}

// A reply without an error, or null when the error was said.
async function answer(act, values) {
  const reply = await ask(act, values);
  say(reply.error ? 'error' : '', reply.error || '');
  return reply.error ? null : reply;
}
