/** Losses: what training minimises, and validation reports. */
import { sizeOf } from '../../core/shape.ts';
import type { Context } from '../context.ts';
import type { Value } from '../value.ts';
import { type Operators, operator } from './types.ts';

/** -w[t] x[t] for the class t of each place of [n, classes, ...]; ignored classes count nothing. */
function likelihoodLoss(context: Context, x: Value, target: Value, weight?: Value): Value {
  const [batch, classes] = x.shape as [number, number];
  const places = sizeOf(x.shape.slice(2));
  const [numbers, targets] = [context.numbers(x), context.numbers(target)];
  const weights = weight && context.numbers(weight);
  const ignored = context.node.attributes.has('ignore_index') ? context.int('ignore_index', 0) : undefined;
  const losses = new Float64Array(batch * places);
  let total = 0;
  for (let i = 0; i < losses.length; i++) {
    const found = targets[i]!;
    if (found === ignored) continue;
    const at = found < 0 ? found + classes : found;
    if (!(at >= 0 && at < classes)) throw context.refuse(`class ${found} of ${classes}`, { class: found });
    const share = weights ? weights[at]! : 1;
    losses[i] = -share * numbers[(Math.floor(i / places) * classes + at) * places + (i % places)]!;
    total += share;
  }
  const from = [x, target, weight];
  const reduction = context.string('reduction', 'mean');
  if (reduction === 'none') return context.made(x.type, target.shape, losses, from);
  const sum = losses.reduce((a, b) => a + b, 0);
  return context.made(x.type, [], Float64Array.of(reduction === 'sum' ? sum : sum / total), from);
}

/** The same of the logarithm of softmax over the classes, which is the second result. */
function softmaxLoss(context: Context, x: Value, target: Value, weight?: Value): readonly Value[] {
  const logs = context.result(context.rt.softmaxSync(context.tensor(x), { axis: 1, log: true }), x.type);
  return [likelihoodLoss(context, logs, target, weight), logs];
}

export const LOSSES: Operators = {
  NegativeLogLikelihoodLoss: operator(12, 2, likelihoodLoss),
  SoftmaxCrossEntropyLoss: operator(12, 2, softmaxLoss),
};
