// Texts as nodes. Whatever models and visitors wrote becomes a text node and nothing else.

// Controls, and characters that only steer the direction or the joining of others.
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/u;
const WHITE = new RegExp(`(\\r?\\n|\\t| {2,}| $|${HIDDEN.source})`, 'u');
const drawn = new WeakMap(); // node -> what redraw() drew in it

function node(tag, className, parent, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  if (parent) parent.append(made);
  return made;
}

// `does` and not `act`: the page around has acts of its own, and hears the clicks here too.
function button(className, parent, text, does) {
  const made = node('button', className, parent, text);
  made.type = 'button';
  made.dataset.does = does;
  return made;
}

function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

// Draws the inside of a node anew if what it tells is not what it told.
function redraw(target, told, draw) {
  const state = JSON.stringify(told);
  if (drawn.get(target) === state) return;
  drawn.set(target, state);
  target.replaceChildren();
  draw();
}

// A text with its white space made visible. The characters stay, so that copying gives the text.
function write(parent, text) {
  if (/^ (?![ \t\r\n])/.test(text)) parent.dataset.space = '';
  for (const piece of text.split(WHITE)) {
    if (!piece) continue;
    if (/^\r?\n$/.test(piece)) node('span', 'strip-newline', parent, piece);
    else if (piece === '\t') node('span', 'strip-tab', parent, piece);
    else if (text !== ' ' && /^ +$/.test(piece) && (piece.length > 1 || text.endsWith(piece))) {
      node('span', 'strip-spaces', parent, piece).style.setProperty('--n', piece.length);
    } else if (HIDDEN.test(piece)) {
      const code = piece.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0');
      node('span', 'strip-hidden', parent, piece).dataset.name = `U+${code}`;
    } else parent.append(piece);
  }
}

// One token by itself, as lists show it.
function writeToken(parent, column, id) {
  const made = chip(column, id);
  if (made) node('span', made.className, parent, made.text);
  else write(parent, column.texts.get(id));
}

// A token in a sentence, whose direction it must not turn.
function quote(parent, column, id) {
  const text = said(column, id);
  parent.append('"');
  node('bdi', '', parent, text.length > 40 ? `${text.slice(0, 40)}…` : text);
  parent.append('"');
}

// "Nairobi" ▲ 7.1 over "Lusaka" ▼ 6.4
function writeMove(parent, column, i) {
  const { promoted, demoted } = column.tokens;
  quote(parent, column, promoted.ids[i]);
  parent.append(` ▲ ${number(Math.abs(promoted.shift[i]), 1)} over `);
  quote(parent, column, demoted.ids[i]);
  parent.append(` ▼ ${number(Math.abs(demoted.shift[i]), 1)}`);
}
