/**
 * RNN, GRU and LSTM as the standard defines them: what the inputs give to all gates is one product for all steps; what the state gives
 * follows step by step (Hochreiter & Schmidhuber, "Long short-term memory", 1997; Cho et al., "Learning phrase representations", 2014).
 */
import { denseStrides } from '../../core/strided.ts';
import type { Context } from '../context.ts';
import type { Value } from '../value.ts';
import { binary, unary } from './elementwise.ts';
import { type Operators, operator } from './types.ts';
import { assemble, read } from './views.ts';

const ACTIVATIONS: Readonly<Record<string, 'sigmoid' | 'tanh' | 'relu' | 'softsign' | 'softplus'>> = {
  ...{ Sigmoid: 'sigmoid', Tanh: 'tanh', Relu: 'relu', Softsign: 'softsign', Softplus: 'softplus' },
};

type Activation = (x: Value) => Value;

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
  const forget = f(peeped(gate(2), 2, c!));
  const next = binary(context, 'add', times(context, forget, c!), times(context, i, g(gate(3))));
  const o = f(peeped(gate(1), 1, next));
  return { h: times(context, o, last(next)), c: next };
};

function activationsOf(context: Context, directions: number, defaults: readonly string[]): Activation[][] {
  const attribute = context.node.attributes.get('activations');
  const names = attribute?.kind === 'strings' ? attribute.value : [];
  return Array.from({ length: directions }, (_, d) =>
    defaults.map((fallback, i) => {
      const name = names[d * defaults.length + i] ?? fallback;
      const kind = ACTIVATIONS[name];
      if (!kind) throw context.refuse(`the activation ${name}`);
      return (x: Value) => unary(context, kind, x);
    }),
  );
}

function zeros(context: Context, shape: readonly number[]): Value {
  const count = shape.reduce((x, y) => x * y, 1);
  return context.made('float32', shape, new Float32Array(count), []);
}

function refuseOdd(context: Context, lengths: Value | undefined, steps: number): void {
  if (context.node.attributes.has('clip')) throw context.refuse('it clips');
  if (context.int('layout', 0) !== 0) throw context.refuse('batches before steps');
  if (lengths && context.ints(lengths).some((length) => length !== steps))
    throw context.refuse('sequences of different lengths');
}

function recurrent(gates: number, defaults: readonly string[], step: Step) {
  return operator(7, 3, (context: Context, x: Value, w: Value, r: Value, ...more: (Value | undefined)[]) => {
    const [b, lengths, h0, c0, peeps] = more;
    const [steps, batch, width] = x.shape as [number, number, number];
    const [directions, , hidden] = r.shape as [number, number, number];
    refuseOdd(context, lengths, steps);
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
        state = step(context, of, part(context, inputs, at), state, hidden);
        outputs.push({ value: context.reshaped(state.h, [1, 1, batch, hidden]), at: [at, d, 0, 0] });
      }
      last.push(state);
    }
    const y = assemble(context, [steps, directions, batch, hidden], undefined, outputs);
    const ends = (of: (state: State) => Value) =>
      assemble(
        context,
        [directions, batch, hidden],
        undefined,
        last.map((state, d) => ({ value: context.reshaped(of(state), [1, batch, hidden]), at: [d, 0, 0] })),
      );
    const h = ends((state) => state.h);
    return last[0]!.c ? [y, h, ends((state) => state.c!)] : [y, h];
  });
}

export const RECURRENT: Operators = {
  RNN: recurrent(1, ['Tanh'], rnn),
  GRU: recurrent(3, ['Sigmoid', 'Tanh'], gru),
  LSTM: recurrent(4, ['Sigmoid', 'Tanh', 'Tanh'], lstm),
};
