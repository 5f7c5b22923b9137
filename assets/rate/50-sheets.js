// --- sheets: what lies over the page

function sheet(title, fill) {
  find('#rate-sheet').textContent = title;
  const body = find('dialog .body');
  body.replaceChildren();
  fill(body);
  if (!dialog.open) dialog.showModal();
}

async function earlier() {
  const reply = await answer('history');
  if (!reply) return;
  sheet('What you said, latest first', (body) => {
    if (!reply.past.length) node('p', '', body, 'Nothing yet.');
    for (const { comparison, number, prompt, verdict, at } of reply.past) {
      const row = button('', body, 'reopen', 'past');
      row.dataset.comparison = comparison;
      node('span', 'number', row, String(number));
      node('span', 'text', row, prompt.length > 120 ? `${prompt.slice(0, 120)}…` : prompt).dir = 'auto';
      node('span', 'verdict', row, VERDICTS[verdict]);
      node('span', 'at', row, new Date(at).toLocaleString([], { dateStyle: 'short', timeStyle: 'short' }));
    }
  });
}

async function reopen(comparison) {
  dialog.close();
  const reply = await answer('reopen', { comparison });
  if (reply) draw(reply.task, null, true);
}

function guide() {
  sheet('Guidelines', (body) => { node('p', 'guidelines', body, asks.guidelines).dir = 'auto'; });
}

function keys() {
  const rows = [['1 or ←', 'A is better'], ['2 or →', 'B is better'], ['3 or ↑', 'Both good'], ['4 or ↓', 'Both bad']];
  rows.push(['0', "Can't judge"]);
  if (asks.strength) rows.push([',', 'Slightly better'], ['.', 'Clearly better']);
  if (more()) rows.push(['Enter', 'Save and next; Ctrl+Enter in the comment']);
  rows.push(['U', 'Undo'], ['E', 'Earlier judgements'], ['G', 'Guidelines'], ['?', 'These keys']);
  sheet('Keys', (body) => {
    const list = node('dl', 'keys', body);
    for (const [key, text] of rows) {
      node('dt', '', list, key);
      node('dd', '', list, text);
    }
    node('p', 'hint', body, 'In a text that has the focus, ↑ and ↓ scroll.');
  });
}

function data() {
  sheet('Your data', (body) => {
    const signed = asks.identity === 'login' && login;
    if (signed) node('p', '', body, `You are signed in as ${login}.`);
    else {
      node('p', '', body, 'Your code, to go on on another device:');
      node('p', 'code', body, mine.code);
      button('Copy', body, 'copy');
    }
    node('p', '', body, 'Kept are your judgements, tags, comments and times, and nothing that says who you are beside '
      + `${signed ? 'your user name' : 'a fingerprint of the code'}.`);
    button('Delete my data', body, 'forget', 'quiet bad');
  });
}

function confirmForget() {
  sheet('Delete all of it?', (body) => {
    node('p', '', body, 'This deletes all that you judged here, in every study: choices, tags, comments, times, and '
      + `${asks.identity === 'login' ? 'your name' : 'your code'}. It cannot be taken back. Files that an organiser has `
      + 'exported before are out of our reach.');
    button('Delete now', body, 'forget-now', 'primary bad');
    button('Keep it', body, 'close');
  });
}

async function forget() {
  dialog.close();
  const reply = await answer('forget');
  if (!reply) return;
  box.drop();
  keep({ code: '', taught: '' });
  stranger = false;
  if (campaign) drawStart();
  else drawFree();
  say('', `Deleted: ${counted(reply.forgotten, 'judgement')} and all else of yours.`);
}

async function copy() {
  try {
    await navigator.clipboard.writeText(mine.code);
    say('', 'Code copied');
  } catch {
    say('', mine.code); // no clipboard on this page (http, or refused): to be copied by hand
  }
  if (dialog.open) dialog.close();
}
