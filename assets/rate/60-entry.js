// --- what is entered

async function enter(form, text) {
  if (!text) return null;
  return form === 'campaign' ? enterCampaign(text) : enterCode(text);
}

async function enterCampaign(text) {
  campaign = idOf(text);
  const kept = [...new URLSearchParams(location.search)].filter(([key]) => key.startsWith('__')); // of others
  history.replaceState(history.state, '', `?${new URLSearchParams([['rate', campaign], ...kept])}`);
  return invite();
}

// A code that is not known leaves the one of this browser as it was.
async function enterCode(text) {
  const before = [mine.code, stranger];
  keep({ code: grouped(text), taught: '' });
  await invite();
  if (!stranger) return screen === 'start' && begin();
  stranger = before[1];
  return keep({ code: before[0] });
}

// A code as we write it, however it was typed.
function grouped(code) {
  return (code.toUpperCase().match(/[0-9A-Z]/g) || []).join('').replace(/(.{4})(?=.)/g, '$1-');
}

function idOf(text) {
  try {
    return new URL(text).searchParams.get('rate') || text;
  } catch {
    return text; // no address: the id itself
  }
}
