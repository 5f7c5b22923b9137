// What goes to the server and comes back: one message at a time, sent again until it is answered.
// A judgement waits in this browser until the server's receipt is there, also over a reload. The server knows it by its
// client_key, so that what is sent twice is kept once.

const UNSENT = 'eft-lab.rate.unsent';
const PATIENCE = 8000; // ms without an answer
const LONGEST = 30000; // ms between two attempts

// randomUUID is there on https and loopback alone.
function newKey() {
  if (crypto.randomUUID) return crypto.randomUUID();
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

// What this browser remembers. One that remembers nothing, or not what we wrote, still judges.
function remembered(name) {
  try {
    const found = JSON.parse(localStorage.getItem(name));
    return found && typeof found === 'object' ? found : {};
  } catch {
    return {};
  }
}

function remember(name, value) {
  try {
    localStorage.setItem(name, JSON.stringify(value));
  } catch {
    console.warn('This browser keeps nothing: judgements that are not sent yet would be lost with the page.');
  }
}

// `send` hands a message on, `late` is told of each that must be sent again, and why.
function outbox(send, late) {
  const waiting = []; // the first is under way
  let timer = 0;
  let tries = 0;

  function attempt() {
    clearTimeout(timer);
    if (!waiting.length) return;
    send(waiting[0].message);
    timer = setTimeout(() => again('the server does not answer'), PATIENCE);
  }

  function again(reason) {
    tries += 1;
    late(waiting[0].message, reason);
    clearTimeout(timer);
    timer = setTimeout(attempt, Math.min(LONGEST, 500 * 2 ** tries));
  }

  return {
    // The reply to a message, whenever it comes.
    ask(message) {
      if (message.act === 'cast') remember(UNSENT, { ...remembered(UNSENT), [message.id]: message });
      return new Promise((resolve) => {
        waiting.push({ message, resolve });
        if (waiting.length === 1) attempt();
      });
    },
    take(reply) {
      if (!waiting.length || waiting[0].message.id !== reply.id) return; // sent twice, and answered before
      if (reply.retry) return again(reply.error);
      const { message, resolve } = waiting.shift();
      const { [message.id]: settled, ...rest } = remembered(UNSENT);
      if (settled) remember(UNSENT, rest);
      tries = 0;
      resolve(reply);
      attempt();
    },
    unsent: () => Object.values(remembered(UNSENT)),
    drop: () => remember(UNSENT, {}),
  };
}
