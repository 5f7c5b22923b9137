// A mix: the weights of a policy's members, at the weights that drew the text or at those of "What if". Weights are one
// a member of the column, null where a member that is needed did not run.

function scaled({ policy }) { return policy.finetune !== null && policy.finetune !== policy.pretrain; }

// Places of the members in their roles. At one size the two bases are one member.
function placesOf(head) {
  const { base, small_base: small } = head.roles;
  const tuned = head.roles.tuned ?? {};
  return scaled(head) ? { base, small, tuned } : { base: base ?? small, small: small ?? base, tuned };
}

function weigh({ head }, terms) {
  const weights = new Array(head.members.length).fill(0);
  for (const [place, weight] of terms) {
    if (!some(weight)) continue;
    if (absent(place)) return null;
    weights[place] += weight;
  }
  return weights;
}

// Of the policy (total), the small policy (small), and the two deltas as they enter the sum (tuning, scaling).
function mixOf(column, behaviours, beta) {
  const { head, places } = column;
  const { base, small, tuned } = places;
  const terms = Object.entries(behaviours).map(([name, weight]) => [tuned[name], weight]);
  const whole = sum(Object.values(behaviours));
  const up = scaled(head) ? beta : 0;
  const law = (rest) => weigh(column, [...terms, [small, rest - up], [base, up]]);
  const made = { behaviours, beta, filtered: scaled(head) && head.policy.nucleus !== null && beta > NEGLIGIBLE };
  if (head.policy.finetune === null) made.small = weigh(column, [[base, 1]]);
  else made.small = weigh(column, [...terms, [small, 1 - whole]]);
  made.total = scaled(head) ? law(1 - whole) : made.small;
  if (made.filtered && (absent(base) || absent(small))) made.total = null;
  made.tuning = weigh(column, [...terms, [small, -whole]]);
  made.scaling = weigh(column, [[base, up], [small, -up]]);
  return made;
}

function sameBehaviours(one, two) {
  const names = [...Object.keys(one), ...Object.keys(two)];
  return !names.some((name) => some((one[name] || 0) - (two[name] || 0)));
}

function membersOf(weights) { return (weights || []).flatMap((weight, m) => (some(weight) ? [m] : [])); }

// A policy that is no single member: the sum is taken while decoding.
function emulated({ own, head }) { return scaled(head) || membersOf(own.total).length > 1; }

// The members beside the policy; the one that is the policy itself would only repeat it.
function othersOf({ head, own, places }) {
  const used = membersOf(own.total);
  const itself = used.length === 1 && !own.filtered ? used[0] : -1;
  const { base, small, tuned } = places;
  const order = [base, ...Object.values(tuned), small, ...head.members.keys()];
  return [...new Set(order)].filter((m) => !absent(m) && m !== itself);
}

function behavioursOf({ head: { policy, roles } }) {
  if (policy.finetune === null) return [];
  const ran = Object.keys(roles.tuned || {}).filter((name) => roles.tuned[name] !== null);
  return [...new Set([...Object.keys(policy.behaviours || {}), ...ran])];
}

// The weights that the sliders ask of a column, whether or not the members that ran could tell the outcome.
function asMoved(column, { behaviours, beta }) {
  const asked = { ...column.own.behaviours };
  for (const name of behavioursOf(column)) if (Object.hasOwn(behaviours, name)) asked[name] = behaviours[name];
  return { behaviours: asked, beta: scaled(column.head) && beta !== null ? beta : column.own.beta };
}

// The mix at those weights; the column's own where they change nothing or ask for members that did not run.
function mixAsMoved(column, weights) {
  const { own } = column;
  const { behaviours, beta } = asMoved(column, weights);
  if (sameBehaviours(behaviours, own.behaviours) && !some(beta - own.beta)) return own;
  const mix = mixOf(column, behaviours, beta);
  return mix.total ? mix : own;
}
