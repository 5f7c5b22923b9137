// What tokens say: texts, bytes that make characters together, special tokens.

const WORD = /[\p{L}\p{N}]/u;

// Tokens that are no text are shown as chips.
function chip({ special, bytes, texts }, id) {
  if (special.has(id)) return { className: 'strip-special', text: special.get(id) };
  if (bytes.has(id)) return { className: 'strip-byte', text: `⟨${bytes.get(id).toUpperCase()}⟩` };
  return texts.get(id) ? null : { className: 'strip-byte', text: `⟨${id}⟩` };
}

// One token in a sentence.
function said(column, id) {
  const text = (chip(column, id) || { text: column.texts.get(id) }).text;
  return text.trim() || (text.includes('\n') ? 'newline' : 'space');
}

// What tokens say together; special tokens say nothing.
function plain({ texts, bytes, special }, ids) {
  const decoder = new TextDecoder();
  let text = '';
  for (const id of ids) {
    if (special.has(id)) text += decoder.decode();
    else if (bytes.has(id)) text += decoder.decode(unhex(bytes.get(id)), { stream: true });
    else text += decoder.decode() + (texts.get(id) || '');
  }
  return text + decoder.decode();
}

function unhex(hex) { return new Uint8Array((hex.match(/../g) || []).map((pair) => Number.parseInt(pair, 16))); }

// Whole characters, or null; with `more`, bytes that may become whole also count.
function decoded(bytes, more) {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(new Uint8Array(bytes), { stream: more });
  } catch {
    return null;
  }
}

// The whole characters that begin with token `from`, and where they end: one token's, or several byte tokens'.
// No text: a chip. `open`: the bytes so far may still become whole.
function characters(column, from) {
  const { tokens: { ids }, bytes: known, special, texts } = column;
  if (!known.has(ids[from])) return { to: from + 1, text: chip(column, ids[from]) ? undefined : texts.get(ids[from]) };
  const bytes = [];
  for (let to = from; to < ids.length; to += 1) {
    if (!known.has(ids[to]) || special.has(ids[to])) return { to: from + 1 };
    bytes.push(...unhex(known.get(ids[to])));
    const text = decoded(bytes, false);
    if (text !== null) return { to: to + 1, text };
    if (decoded(bytes, true) === null) return { to: from + 1 };
  }
  return { to: from + 1, open: true };
}
