// --- screens: what is read before and after judging

const POLL = 2000; // ms between two looks whether the next answers are there
let poll = 0;

const RESTS = {
  waiting: ['A moment', 'The next answers are being written. This page goes on by itself.', 'undo'],
  paused: ['Paused', 'The organiser has paused this study. What you judged is kept: come back later.', 'again'],
  closed: ['Closed', 'This study takes no more judgements. What you judged before is kept. Thank you.', ''],
  finished: ['Thank you', '', 'undo'],
};

// Focus goes to a screen's heading, so that it is read out; never away from another tab, or from what somebody types.
function show(name) {
  clearTimeout(poll);
  screen = name;
  find('.rate').toggleAttribute('data-page', name !== 'task');
  for (const each of every('[data-screen]')) each.hidden = each.dataset.screen !== name;
  look();
  const active = document.activeElement;
  if (element.offsetParent === null || (active !== document.body && !element.contains(active))) return;
  find(`[data-screen=${name}] h2`).focus({ preventScroll: true });
  if (element.getBoundingClientRect().top < 0) element.scrollIntoView({ block: 'start' });
}

async function invite() {
  const reply = await ask('open');
  if (reply.error && campaign) {
    campaign = ''; // a link that names none of ours: what can be done without one
    await invite();
  }
  if (reply.error) return say('error', reply.error);
  asks = reply.invitation;
  login = reply.login;
  stranger = Boolean(reply.stranger);
  say(stranger ? 'error' : '', reply.stranger);
  if (!campaign) return drawFree();
  if (reply.begun) return begin();
  if (asks.state !== 'running') return arrive({ state: asks.state, done: 0 });
  return drawStart();
}

function drawFree() {
  find('[data-screen=free] [data-act=data]').hidden = !mine.code;
  show('free');
}

function drawStart() {
  const signs = asks.identity === 'login';
  find('.title').textContent = asks.title;
  find('.size').textContent = `${counted(asks.total, 'comparison')} at most. Stop when you like, and go on later.`;
  find('[data-screen=start] .guidelines').textContent = asks.guidelines;
  for (const each of every('.by-code')) each.hidden = signs;
  find('.by-login').hidden = !signs;
  find('[data-act=start]').disabled = signs && !login;
  const goesOn = mine.code && !stranger ? 'You go on with the code of this browser.' : '';
  find('.who').textContent = signs ? whoSigns() : goesOn;
  const host = document.querySelector('#rate-sign'); // gradio's own button
  if (host) host.toggleAttribute('data-needed', signs);
  show('start');
}

function whoSigns() {
  if (login) return `Signed in as ${login}.`;
  const where = props.signs ? '' : ' That works where it runs on a Space alone.';
  return `This study asks you to sign in with Hugging Face first.${where}`;
}

async function start() {
  if (asks.identity === 'code' && mine.code && !stranger) return begin();
  const reply = await answer('join');
  if (!reply) return null;
  stranger = false;
  if (!reply.code) return begin();
  keep({ code: reply.code, taught: '' });
  find('[data-screen=code] .code').textContent = reply.code;
  return show('code');
}

async function begin() {
  if (!campaign) return free();
  const reply = await answer('place');
  return reply && arrive(reply.place);
}

async function free() {
  if (!mine.code || stranger) return start();
  const reply = await answer('free');
  if (!reply) return null;
  if (reply.task) return draw(reply.task);
  return say('', 'You have judged every pair of it. Run another comparison on Compare, then come back.');
}

// Where the rater is: the next task, or why there is none. `told`: whose answers the last ones were.
function arrive(place, told = '') {
  if (place.state === 'task') draw(place.task, place.done);
  else if (!campaign) drawFree();
  else drawRest(place);
  reveal(told);
}

function drawRest({ state, done }) {
  const [title, text, act] = RESTS[state];
  const acts = [mine.code || login ? 'data' : '', act === 'again' || done ? act : '', done ? 'history' : ''];
  const ends = state === 'finished';
  rest(title, ends ? thanks(done) : text, acts, ends && asks.identity === 'code' ? mine.code : '');
  if (state === 'waiting') poll = setTimeout(again, POLL);
}

function rest(title, text, acts, code = '') {
  find('[data-screen=rest] h2').textContent = title;
  find('[data-screen=rest] .about').textContent = text;
  find('[data-screen=rest] .code').textContent = code;
  for (const each of every('[data-screen=rest] [data-act]')) each.hidden = !acts.includes(each.dataset.act);
  show('rest');
}

function thanks(done) {
  if (!done) return 'All comparisons of this study have been judged by others: nothing is left for you.';
  const back = asks.identity === 'login' ? 'by signing in again' : 'on any device, by your code';
  return `You judged ${counted(done, 'comparison')}: all that there are for you. They are kept, and count in the `
    + `study's results. Until the study is closed you can come back and change them, ${back}.`;
}

// Whose answers the judged ones were, where the campaign allows it: above what comes next, in nobody's way.
function reveal(told) {
  for (const each of every('.reveal')) [each.textContent, each.hidden] = [told, !told];
}

async function again() {
  if (screen !== 'rest') return;
  if (!inView()) {
    poll = setTimeout(again, POLL); // nobody waits
    return;
  }
  const reply = await ask('place');
  if (screen !== 'rest') return;
  if (reply.error) say('error', reply.error);
  else arrive(reply.place, find('.reveal').textContent);
}
