// Measures: what a token is coloured by. components/scale.py has the same titles and limits. `needs` says whose members
// a measure takes; `of` gives its value of token i, null where it is unknown.

const MEASURES = {
  total_variation: {
    title: 'Total variation', low: 0, high: 1, unit: '', needs: 'small',
    of: ({ tokens }, i) => at(tokens.total_variation?.small, i),
    hint: 'Half of Σ|policy − small policy|: how far the large base moves this choice.',
  },
  total_variation_base: {
    title: 'Total variation against base', low: 0, high: 1, unit: '', needs: 'base',
    of: ({ tokens }, i) => at(tokens.total_variation?.base, i),
    hint: 'Half of Σ|policy − large base|: how far fine-tuning moves this choice.',
  },
  shift: {
    title: 'Shift', low: -3, high: 3, unit: 'nats', needs: 'small', of: shiftOf,
    hint: 'log policy − log small policy of the token: what the large base adds to it.',
  },
  against_base: {
    title: 'Against large base', low: -3, high: 3, unit: 'nats', needs: 'base',
    of: (column, i) => minus(at(column.tokens.logprob.policy, i), under(column, column.head.roles.base, i)),
    hint: 'log policy − log large base of the token: what fine-tuning adds to it.',
  },
  finetuning: {
    title: 'Fine-tuning delta', low: -3, high: 3, unit: 'nats', needs: 'tuned', of: finetuning,
    hint: 'Σ λ (tuned − base) at the fine-tuning size, as it enters the sum.',
  },
  upscaling: {
    title: 'Up-scaling delta', low: -3, high: 3, unit: 'nats', needs: 'bases', of: upscaling,
    hint: 'β (base at the pre-training size − base at the fine-tuning size), as it enters the sum.',
  },
  deltas: {
    title: 'Both deltas', low: -3, high: 3, unit: 'nats', needs: 'all',
    of: (column, i) => plus(finetuning(column, i), upscaling(column, i)),
    hint: 'Fine-tuning delta + up-scaling delta: the whole step away from the base at the fine-tuning size.',
  },
  divergence: {
    title: 'KL to small policy', low: 0, high: 3, unit: 'nats', needs: 'small',
    of: ({ tokens }, i) => at(tokens.divergence?.small, i),
    hint: 'KL(policy ‖ small policy) at this place.',
  },
  divergence_base: {
    title: 'KL to large base', low: 0, high: 3, unit: 'nats', needs: 'base',
    of: ({ tokens }, i) => at(tokens.divergence?.base, i),
    hint: 'KL(policy ‖ large base) at this place.',
  },
  logprob: {
    title: 'Log-probability', low: -3, high: 0, unit: 'nats', needs: 'policy',
    of: ({ tokens }, i) => at(tokens.logprob.policy, i),
    hint: 'log policy of the token: the stronger, the less it was expected.',
  },
  entropy: {
    title: 'Entropy', low: 0, high: 3, unit: 'nats', needs: 'policy',
    of: ({ tokens }, i) => at(tokens.entropy?.policy, i),
    hint: 'Entropy of the policy at this place: how open the choice was.',
  },
  none: { title: 'None', low: 0, high: 0, unit: '', needs: 'policy', of: () => null, hint: 'Text without colours.' },
};
const DELTAS = ['finetuning', 'upscaling', 'deltas'];

// The drawn token i under the member at a place.
function under({ head, tokens }, place, i) {
  return absent(place) ? null : at(tokens.logprob[head.members[place]], i);
}

// Σ weight · log-probability of the drawn token i.
function summed(column, weights, i) {
  if (!weights) return null;
  let total = 0;
  for (let m = 0; m < weights.length && total !== null; m += 1) {
    if (some(weights[m])) {
      const value = under(column, m, i);
      total = value === null ? null : total + weights[m] * value;
    }
  }
  return total;
}

function shiftOf(column, i) {
  const { own, tokens, head } = column;
  if (!scaled(head)) return 0;
  return minus(at(tokens.logprob.policy, i), minus(summed(column, own.small, i), at(tokens.log_z_small, i)));
}

// The deltas: as told, or at the weights of "What if".
function finetuning(column, i) {
  const { mix, own, tokens } = column;
  return mix === own ? at(tokens.finetuning, i) : summed(column, mix.tuning, i);
}

function upscaling(column, i) {
  const { mix, own, tokens } = column;
  return mix === own ? at(tokens.upscaling, i) : summed(column, mix.scaling, i);
}

// Why a measure is unknown here: the members that it needs and that did not run.
function missing({ head: { policy }, places: { base, small, tuned } }, needs) {
  const behaviours = Object.entries(policy.behaviours || {}).filter(([, weight]) => some(weight));
  const rest = 1 - sum(behaviours.map(([, weight]) => weight));
  const names = new Set();
  const need = (place, name) => { if (absent(place)) names.add(name); };
  if (['small', 'tuned', 'all'].includes(needs)) {
    for (const [name] of behaviours) need(tuned[name], `tuned[${name}][${policy.finetune}]`);
  }
  const smallBase = ['tuned', 'bases', 'all'].includes(needs) || (needs === 'small' && some(rest));
  if (policy.finetune !== null && smallBase) need(small, `base[${policy.finetune}]`);
  if (['base', 'bases', 'all'].includes(needs)) need(base, `base[${policy.pretrain}]`);
  return names.size ? `${[...names].join(' and ')} did not run here` : 'not recorded here';
}

// Where a value lies on its measure's scale, -1 to 1.
function shareOf(value, { low, high }) { return clamp(value / Math.max(-low, high), -1, 1); }
