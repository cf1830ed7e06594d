/**
 * RNN, GRU and LSTM as the standard defines them: what the inputs give to all gates is one product for all steps; what the state gives
 * follows step by step (Hochreiter & Schmidhuber, "Long short-term memory", 1997; Cho et al., "Learning phrase representations", 2014).
 */
import { sizeOf } from '../../core/shape.ts';
import { denseStrides } from '../../core/strided.ts';
import type { Context } from '../context.ts';
import type { Value } from '../value.ts';
import { binary, unary, where } from './elementwise.ts';
import { type Operators, operator } from './types.ts';
import { assemble, read, regrouped } from './views.ts';

type Activation = (x: Value) => Value;

/** Which of a node's activations is that of an LSTM's cell. */
const OF_CELL = 2;

/** What an activation's numbers are where none are given. */
interface Usual {
  readonly alpha?: number;
  readonly beta?: number;
  readonly of: (context: Context, x: Value, alpha: number, beta: number) => Value;
}

const plain = (kind: 'sigmoid' | 'tanh' | 'relu' | 'softsign' | 'softplus'): Usual => ({
  of: (context, x) => unary(context, kind, x),
});

/** By their names in lower case, as onnxruntime takes them too. */
const ACTIVATIONS: Readonly<Record<string, Usual>> = {
  ...{ sigmoid: plain('sigmoid'), tanh: plain('tanh'), relu: plain('relu') },
  ...{ softsign: plain('softsign'), softplus: plain('softplus') },
  affine: {
    ...{ alpha: 1, beta: 0 },
    of: (context, x, alpha, beta) =>
      binary(context, 'add', binary(context, 'mul', x, context.number(alpha)), context.number(beta)),
  },
  leakyrelu: {
    alpha: 0.01,
    of: (context, x, slope) => unary(context, { kind: 'leakyRelu', slope }, x),
  },
  thresholdedrelu: {
    alpha: 1,
    of: (context, x, alpha) =>
      binary(context, 'mul', x, binary(context, 'greater', x, context.number(alpha))),
  },
  scaledtanh: {
    ...{ alpha: 1, beta: 1 },
    of: (context, x, alpha, beta) => {
      const inner = unary(context, 'tanh', binary(context, 'mul', x, context.number(beta)));
      return binary(context, 'mul', inner, context.number(alpha));
    },
  },
  hardsigmoid: {
    ...{ alpha: 0.2, beta: 0.5 },
    of: (context, x, alpha, beta) => unary(context, { kind: 'hardSigmoid', alpha, beta }, x),
  },
  elu: { alpha: 1, of: (context, x, alpha) => unary(context, { kind: 'elu', alpha }, x) },
};

/** The part of `value` that has index `at` on its first axis, without that axis. */
function part(context: Context, value: Value, at: number): Value {
  const shape = value.shape.slice(1);
  const strides = denseStrides(value.shape);
  return read(context, value, { shape, strides: strides.slice(1), first: at * strides[0]! });
}

/** Columns from..from + width of a matrix. */
function columns(context: Context, matrix: Value, from: number, width: number): Value {
  const strides = denseStrides(matrix.shape);
  return read(context, matrix, { shape: [matrix.shape[0]!, width], strides, first: from });
}

function timesTransposed(context: Context, a: Value, b: Value): Value {
  const y = context.rt.matmulSync(context.tensor(a), context.tensor(b), { transposeB: true });
  return context.result(y, a.type);
}

/** Weights of one direction. */
interface Direction {
  readonly w: Value;
  readonly r: Value;
  /** Of the inputs and of the state, a line each, or none. */
  readonly wBias: Value | undefined;
  readonly rBias: Value | undefined;
  readonly peep: Value | undefined;
  readonly activations: readonly Activation[];
}

interface State {
  readonly h: Value;
  readonly c: Value | undefined;
}

/** The state after a step: `x` is what the input gives to all gates, [batch, gates x hidden]. */
type Step = (context: Context, of: Direction, x: Value, state: State, hidden: number) => State;

const sum = (context: Context, a: Value, b: Value | undefined) => (b ? binary(context, 'add', a, b) : a);
const times = (context: Context, a: Value, b: Value) => binary(context, 'mul', a, b);

const rnn: Step = (context, { r, rBias, activations }, x, { h }) => {
  const whole = sum(context, binary(context, 'add', x, timesTransposed(context, h, r)), rBias);
  return { h: activations[0]!(whole), c: undefined };
};

/** Rows of the state's weights, and of its bias, that belong to one gate. */
function gateOf(context: Context, { r, rBias }: Direction, gate: number, hidden: number) {
  const strides = denseStrides(r.shape);
  const weights = read(context, r, { shape: [hidden, hidden], strides, first: gate * hidden * hidden });
  const bias = rBias && read(context, rBias, { shape: [hidden], strides: [1], first: gate * hidden });
  return { weights, bias };
}

const gru: Step = (context, of, x, { h }, hidden) => {
  const [f, g] = of.activations as [Activation, Activation];
  const gate = (index: number, value: Value) => {
    const { weights, bias } = gateOf(context, of, index, hidden);
    return sum(context, timesTransposed(context, value, weights), bias);
  };
  const input = (index: number) => columns(context, x, index * hidden, hidden);
  const z = f(binary(context, 'add', input(0), gate(0, h)));
  const r = f(binary(context, 'add', input(1), gate(1, h)));
  const isLinearFirst = context.int('linear_before_reset', 0) === 1;
  const candidate = isLinearFirst ? times(context, r, gate(2, h)) : gate(2, times(context, r, h));
  const n = g(binary(context, 'add', input(2), candidate));
  // n + z (h - n)
  const change = times(context, z, binary(context, 'sub', h, n));
  return { h: binary(context, 'add', n, change), c: undefined };
};

const lstm: Step = (context, of, x, { h, c }, hidden) => {
  const [f, g, last] = of.activations as [Activation, Activation, Activation];
  const whole = sum(context, binary(context, 'add', x, timesTransposed(context, h, of.r)), of.rBias);
  const gate = (index: number) => columns(context, whole, index * hidden, hidden);
  const peeped = (value: Value, index: number, state: Value) => {
    if (!of.peep) return value;
    const p = read(context, of.peep, { shape: [hidden], strides: [1], first: index * hidden });
    return binary(context, 'add', value, times(context, p, state));
  };
  const i = f(peeped(gate(0), 0, c!));
  const isCoupled = context.int('input_forget', 0) === 1;
  const forget = isCoupled ? binary(context, 'sub', context.number(1), i) : f(peeped(gate(2), 2, c!));
  const next = binary(context, 'add', times(context, forget, c!), times(context, i, g(gate(3))));
  const o = f(peeped(gate(1), 1, next));
  return { h: times(context, o, last(next)), c: next };
};

/**
 * Each activation takes as many of the listed numbers as it has; what goes into those of gates is clipped where the node says so, and not what
 * goes from the cell to the output, as in onnxruntime.
 */
function activationsOf(context: Context, directions: number, defaults: readonly string[]): Activation[][] {
  const attribute = context.node.attributes.get('activations');
  const names = attribute?.kind === 'strings' ? attribute.value : [];
  const alphas = [...(context.floatList('activation_alpha') ?? [])];
  const betas = [...(context.floatList('activation_beta') ?? [])];
  const bound = context.float('clip', Number.POSITIVE_INFINITY);
  const clipped = (x: Value, i: number) =>
    bound === Number.POSITIVE_INFINITY || i === OF_CELL
      ? x
      : unary(context, { kind: 'clip', min: -bound, max: bound }, x);
  return Array.from({ length: directions }, (_, d) =>
    defaults.map((fallback, i) => {
      const name = names[d * defaults.length + i] ?? fallback;
      const usual = ACTIVATIONS[name.toLowerCase()];
      if (!usual) throw context.refuse(`the activation ${name}`);
      const alpha = usual.alpha === undefined ? 0 : (alphas.shift() ?? usual.alpha);
      const beta = usual.beta === undefined ? 0 : (betas.shift() ?? usual.beta);
      return (x: Value) => usual.of(context, clipped(x, i), alpha, beta);
    }),
  );
}

function zeros(context: Context, shape: readonly number[]): Value {
  const count = shape.reduce((x, y) => x * y, 1);
  return context.made('float32', shape, new Float32Array(count), []);
}

/** [a, b, ...] as [b, a, ...]. */
function swapped(context: Context, x: Value): Value {
  const [a, b, ...rest] = x.shape as [number, number, ...number[]];
  const size = sizeOf(rest);
  return regrouped(context, x, [a, b, size], [1, 0, 2], [b, a, ...rest]);
}

/** [steps, d, batch, hidden] as [batch, steps, d, hidden]. */
function batchesFirst(context: Context, y: Value): Value {
  const [steps, directions, batch, hidden] = y.shape as [number, number, number, number];
  return regrouped(context, y, y.shape, [2, 0, 1, 3], [batch, steps, directions, hidden]);
}

/** For a step [batch, 1] which sequences have it, or undefined where all have: those that are over keep their state. */
function presence(context: Context, lengths: readonly number[] | undefined, at: number): Value | undefined {
  if (!lengths || lengths.every((length) => at < length)) return undefined;
  const mask = Float32Array.from(lengths, (length) => (at < length ? 1 : 0));
  return context.made('float32', [lengths.length, 1], mask, []);
}

function held(context: Context, present: Value | undefined, next: State, before: State): State {
  if (!present) return next;
  const c = next.c && where(context, present, next.c, before.c!);
  return { h: where(context, present, next.h, before.h), c };
}

type Inputs = readonly (Value | undefined)[];

function recurrent(gates: number, defaults: readonly string[], step: Step) {
  return operator(7, 3, (context: Context, input: Value, w: Value, r: Value, ...more: Inputs) => {
    const isBatchFirst = context.int('layout', 0) === 1;
    const turned = (value: Value | undefined) => value && (isBatchFirst ? swapped(context, value) : value);
    const [b, lengthsInput, first, firstCell, peeps] = more;
    const [x, h0, c0] = [turned(input)!, turned(first), turned(firstCell)];
    const lengths = lengthsInput && context.ints(lengthsInput);
    const [steps, batch, width] = x.shape as [number, number, number];
    const [directions, , hidden] = r.shape as [number, number, number];
    const activations = activationsOf(context, directions, defaults);
    const isReverse = context.string('direction', 'forward') === 'reverse';
    const flat = context.reshaped(x, [steps * batch, width]);
    const outputs: { value: Value; at: number[] }[] = [];
    const last: State[] = [];
    for (let d = 0; d < directions; d++) {
      const biases = b && part(context, b, d);
      const bias = (which: number) =>
        biases &&
        read(context, biases, { shape: [gates * hidden], strides: [1], first: which * gates * hidden });
      const of: Direction = {
        ...{ w: part(context, w, d), r: part(context, r, d), wBias: bias(0), rBias: bias(1) },
        ...{ peep: peeps && part(context, peeps, d), activations: activations[d]! },
      };
      const inputs = context.reshaped(sum(context, timesTransposed(context, flat, of.w), of.wBias), [
        ...[steps, batch, gates * hidden],
      ]);
      let state: State = {
        h: h0 ? part(context, h0, d) : zeros(context, [batch, hidden]),
        c: c0 ? part(context, c0, d) : zeros(context, [batch, hidden]),
      };
      for (let i = 0; i < steps; i++) {
        const at = isReverse || d === 1 ? steps - 1 - i : i;
        const next = step(context, of, part(context, inputs, at), state, hidden);
        const present = presence(context, lengths, at);
        state = held(context, present, next, state);
        const shown = present ? binary(context, 'mul', state.h, present) : state.h;
        outputs.push({ value: context.reshaped(shown, [1, 1, batch, hidden]), at: [at, d, 0, 0] });
      }
      last.push(state);
    }
    const y = assemble(context, [steps, directions, batch, hidden], undefined, outputs);
    const ends = (of: (state: State) => Value) =>
      turned(
        assemble(
          context,
          [directions, batch, hidden],
          undefined,
          last.map((state, d) => ({ value: context.reshaped(of(state), [1, batch, hidden]), at: [d, 0, 0] })),
        ),
      )!;
    const all = isBatchFirst ? batchesFirst(context, y) : y;
    const h = ends((state) => state.h);
    return last[0]!.c ? [all, h, ends((state) => state.c!)] : [all, h];
  });
}

export const RECURRENT: Operators = {
  RNN: recurrent(1, ['Tanh'], rnn),
  GRU: recurrent(3, ['Sigmoid', 'Tanh'], gru),
  LSTM: recurrent(4, ['Sigmoid', 'Tanh', 'Tanh'], lstm),
};
