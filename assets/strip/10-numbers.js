// The token strip: the texts of a board, every token coloured by a measure, with what is known of it one hover away.
// Documents and stream chunks are those of the schema "eft-lab/trace/1"; all arithmetic here is the policy's formula on
// their numbers. These files are joined in the order of their names into one function (eft_core/standalone.py), so a
// name of one is known to all, and outside of them only `tokenStrips`, the last, is.
//
// Numbers that may be unknown (null: a member did not run), and how they are written.

const NEGLIGIBLE = 1e-9; // weights closer to zero are rounding, as in policy.py

function some(weight) { return Math.abs(weight) > NEGLIGIBLE; }
function absent(value) { return value === undefined || value === null; }
function at(series, i) { return series?.[i] ?? null; }
function plus(one, two) { return one === null || two === null ? null : one + two; }
function minus(one, two) { return one === null || two === null ? null : one - two; }
function best(values) { return values.indexOf(Math.max(...values)); }

function sum(values) {
  let total = 0;
  for (const value of values) total += value;
  return total;
}

function logSumExp(values) {
  const most = Math.max(...values);
  return most + Math.log(sum(values.map((value) => Math.exp(value - most))));
}

function count(values, does) {
  let found = 0;
  for (let i = 0; i < values.length; i += 1) if (does(values[i], i)) found += 1;
  return found;
}

function clamp(value, low, high) { return Math.max(low, Math.min(value, high)); }

function number(value, digits = 2) {
  if (value === null) return '–';
  return value.toFixed(digits).replace(/^-(0\.?0*)$/, '$1').replace('-', '−');
}

function percent(logprob) {
  if (logprob === null) return '–';
  const share = 100 * Math.exp(logprob);
  if (share < 0.1) return '<0.1%';
  return `${share.toFixed(share < 10 ? 1 : 0)}%`;
}

// "tuned[helpful][small]" as the page says it: "Small helpful".
function memberName(name) {
  const [, behaviour, size] = /^(?:base|tuned\[([^[\]]+)\])\[([^[\]]+)\]$/.exec(name) || [];
  return size ? `${size.charAt(0).toUpperCase()}${size.slice(1)} ${behaviour || 'base'}` : name;
}
