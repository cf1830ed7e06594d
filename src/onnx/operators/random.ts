/**
 * Operators that draw numbers: new ones in each run. A seed that is given says where they begin; it is the same on every engine, not the
 * same as another runtime's.
 */
import { randomFrom } from '../../core/random.ts';
import type { Context } from '../context.ts';
import { arrayFor, typeOfCode } from '../model/tensor-proto.ts';
import type { ElementType } from '../model/types.ts';
import { Value } from '../value.ts';
import { binary } from './elementwise.ts';
import { type Operators, operator } from './types.ts';

type Draw = () => number;

/** Numbers of a distribution, made of ones that are even in [0, 1). */
type Distribution = (next: Draw) => Draw;

/** The node's own numbers, which go on from run to run. */
function numbersOf(context: Context): Draw {
  const { node, kept } = context;
  const known = kept.draws.get(node);
  if (known) return known;
  const attribute = node.attributes.get('seed');
  // of a fraction all bits count
  const seed = attribute?.kind === 'float' || attribute?.kind === 'int' ? attribute.value : Math.random();
  const made = randomFrom(new Uint32Array(Float32Array.of(seed).buffer)[0]!);
  kept.draws.set(node, made);
  return made;
}

function uniform(context: Context): Distribution {
  const [low, high] = [context.float('low', 0), context.float('high', 1)];
  return (next) => () => low + (high - low) * next();
}

/** Two at a time (Box & Muller, "A note on the generation of random normal deviates", 1958). */
function normal(context: Context): Distribution {
  const [mean, scale] = [context.float('mean', 0), context.float('scale', 1)];
  return (next) => {
    let spare: number | undefined;
    return () => {
      if (spare !== undefined) {
        const value = spare;
        spare = undefined;
        return mean + scale * value;
      }
      const radius = Math.sqrt(-2 * Math.log(1 - next()));
      const angle = 2 * Math.PI * next();
      spare = radius * Math.sin(angle);
      return mean + scale * radius * Math.cos(angle);
    };
  };
}

/** The type that the node names, or the one that it has otherwise. */
function typeFor(context: Context, usual: ElementType): ElementType {
  const code = context.int('dtype', 0);
  const type = code === 0 ? usual : typeOfCode(code);
  if (!type) throw context.refuse(`of type ${code}`);
  return type;
}

function drawn(context: Context, type: ElementType, shape: readonly number[], draw: Draw): Value {
  return context.fresh(type, shape, (to) => {
    for (let i = 0; i < to.length; i++) to[i] = draw();
  });
}

function ofShape(distribution: (context: Context) => Distribution) {
  return operator(1, 0, (context: Context): Value => {
    const type = typeFor(context, 'float32');
    return drawn(context, type, context.intList('shape') ?? [], distribution(context)(numbersOf(context)));
  });
}

function like(distribution: (context: Context) => Distribution) {
  return operator(1, 1, (context: Context, x: Value): Value => {
    const type = typeFor(context, x.type);
    return drawn(context, type, x.shape, distribution(context)(numbersOf(context)));
  });
}

/** 1 with the probability that the input says. */
function bernoulli(context: Context, x: Value): Value {
  const type = typeFor(context, x.type);
  const even = drawn(context, 'float32', x.shape, numbersOf(context));
  const hits = binary(context, 'less', even, x);
  return context.retyped(hits, type);
}

/** Classes, drawn by the logarithms of their probabilities, which need not sum to 1. */
function multinomial(context: Context, x: Value): Value {
  const type = typeFor(context, 'int32');
  const [batch, classes] = x.shape as [number, number];
  const count = context.int('sample_size', 1);
  const numbers = context.numbers(x);
  const next = numbersOf(context);
  context.core.tape?.spoil(`${context.node.op} draws places`);
  const out = arrayFor(type, batch * count);
  for (let line = 0; line < batch; line++) {
    const logs = Array.from(numbers.subarray(line * classes, (line + 1) * classes));
    const most = logs.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
    const weights = logs.map((log) => Math.exp(log - most));
    const total = weights.reduce((a, b) => a + b, 0);
    for (let i = 0; i < count; i++) {
      let rest = next() * total;
      let at = 0;
      while (at < classes - 1 && rest >= weights[at]!) rest -= weights[at++]!;
      out[line * count + i] = at;
    }
  }
  return context.made(type, [batch, count], out, [x]);
}

/** Nothing is dropped when a network is used; in training a part is set to zero, and the rest scaled up for it (Srivastava et al., 2014). */
function dropout(context: Context, x: Value, ratioInput?: Value, training?: Value): readonly Value[] {
  if (context.opset < 7 && context.int('is_test', 0) === 0) throw context.refuse('it is in training mode');
  const ratio = ratioInput ? context.numbers(ratioInput)[0]! : 0.5;
  if (!training || !context.numbers(training)[0] || ratio === 0) {
    const mask = Value.ofNumbers('bool', x.shape, new Uint8Array(x.size).fill(1), true);
    const y = context.reshaped(x, x.shape);
    return context.node.outputs.length > 1 ? [y, mask] : [y];
  }
  const even = drawn(context, 'float32', x.shape, numbersOf(context));
  const mask = binary(context, 'greaterOrEqual', even, context.number(ratio));
  const scaled = binary(context, 'mul', x, context.number(1 / (1 - ratio)));
  return [binary(context, 'mul', scaled, mask), mask];
}

export const RANDOM: Operators = {
  RandomUniform: ofShape(uniform),
  RandomNormal: ofShape(normal),
  RandomUniformLike: like(uniform),
  RandomNormalLike: like(normal),
  Bernoulli: operator(15, 1, bernoulli),
  Multinomial: operator(7, 1, multinomial),
  Dropout: operator(1, 1, dropout),
};
