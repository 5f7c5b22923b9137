// The laws of one token's candidates: of members as they are told, of policies by the formula.

const ROUNDING = 2e-3; // numbers of a document are rounded: the token on the filter's edge is inside

// Log-probabilities of token i's candidates under every member, null if they are not told.
function candidateRows(column, i) { return (column.rows[i] ??= foundRows(column, i)); }

function foundRows({ head, tokens }, i) {
  const rows = head.members.map((name) => tokens.candidate_logprobs?.[name]?.[i]);
  return tokens.candidates?.[i]?.length && rows.every(Boolean) ? rows : null;
}

function weighted(rows, weights) {
  const total = new Array(rows[0].length).fill(0);
  for (let m = 0; m < rows.length; m += 1) {
    const weight = weights[m];
    if (weight) for (let j = 0; j < total.length; j += 1) total[j] += weight * rows[m][j];
  }
  return total;
}

// What the policy of `mix` gives the candidates of token i, up to a constant.
function scores(column, i, mix) {
  const rows = candidateRows(column, i);
  if (!rows || !mix.total) return null;
  if (!mix.filtered) return weighted(rows, mix.total);
  const found = smallLaw(column, rows, i, mix);
  const { base, small } = column.places;
  const shift = (j) => mix.beta * (rows[base][j] - rows[small][j]);
  return found && found.law.map((value, j) => value + (value >= found.edge ? shift(j) : 0));
}

// The small policy of a filtered mix, and the edge of its nucleus. Both are told for the weights that drew the text;
// for other behaviour weights they are estimated: the mass outside of the candidates is taken as it was.
function smallLaw(column, rows, i, mix) {
  const { own, tokens, head } = column;
  const logZ = at(tokens.log_z_small, i);
  const threshold = at(tokens.threshold, i);
  if (logZ === null || !mix.small || !own.small) return null;
  const raw = weighted(rows, mix.small);
  if (threshold !== null && sameBehaviours(mix.behaviours, own.behaviours)) {
    return { law: raw.map((value) => value - logZ), edge: threshold - ROUNDING };
  }
  const outside = 1 - sum(weighted(rows, own.small).map((value) => Math.exp(value - logZ)));
  const normaliser = logSumExp(outside > ROUNDING ? [...raw, Math.log(outside) + logZ] : raw);
  const law = raw.map((value) => value - normaliser);
  return { law, edge: edgeOf(law, head.policy.nucleus) };
}

// The smallest set of most probable tokens with mass >= p ends here.
function edgeOf(law, p) {
  let mass = 0;
  if (p >= 1) return -Infinity;
  for (const value of [...law].sort((one, two) => two - one)) {
    mass += Math.exp(value);
    if (mass >= p) return value;
  }
  return -Infinity;
}

// Log-probabilities of token i's candidates under the policy (null) or the member at a place.
function lawOf(column, i, place) {
  if (place !== null) return at(column.tokens.candidate_logprobs?.[column.head.members[place]], i);
  const found = scores(column, i, column.own);
  const logZ = at(column.tokens.log_z, i) ?? (found && logSumExp(found));
  return found && found.map((value) => value - logZ);
}

// The candidate that a mix makes the most probable.
function topOf(column, i, mix) {
  const found = scores(column, i, mix);
  return found ? column.tokens.candidates[i][best(found)] : null;
}

function smallTopOf(column, i) {
  const rows = candidateRows(column, i);
  return rows && column.own.small ? column.tokens.candidates[i][best(weighted(rows, column.own.small))] : null;
}

// The candidate that would be the most probable at the weights of "What if", null where it is the same.
function wouldBe(column, i) {
  if (column.mix === column.own) return null;
  const top = topOf(column, i, column.mix);
  return top === column.tops[i] ? null : top;
}
