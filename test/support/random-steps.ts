/** What networks at random are made of: each step goes on from a value, or says by `undefined` that it does not fit. Here those for all arrays. */
import type { Live, Maker } from './random-network.ts';

export type Step = (maker: Maker, x: Live) => Live | undefined;

/** Weights by which sums keep about the size of what they are sums of. */
export function weights(maker: Maker, dims: readonly number[], summands: number): string {
  return maker.floats(dims, 1.7 / Math.sqrt(summands));
}

export function biases(maker: Maker, channels: number): string[] {
  return maker.random.chance(0.6) ? [maker.floats([channels], 0.3)] : [];
}

const ACTIVATIONS: readonly ((maker: Maker, x: Live) => Live)[] = [
  (maker, x) => maker.add('Relu', [x.name], x.dims),
  (maker, x) => maker.add('Relu', [x.name], x.dims),
  (maker, x) => maker.add('LeakyRelu', [x.name], x.dims, { alpha: maker.random.pick([0.1, 0.3]) }),
  (maker, x) => maker.add('Sigmoid', [x.name], x.dims),
  (maker, x) => maker.add('Tanh', [x.name], x.dims),
  (maker, x) => maker.add('Elu', [x.name], x.dims, { alpha: 0.7 }),
  (maker, x) => maker.add('Softplus', [x.name], x.dims),
  (maker, x) =>
    maker.add('HardSigmoid', [x.name], x.dims, { alpha: maker.random.pick([0.2, 1 / 6]), beta: 0.5 }),
  (maker, x) => maker.add('HardSwish', [x.name], x.dims),
  (maker, x) =>
    maker.add(
      'Clip',
      [x.name, maker.all([], maker.random.pick([0, -1])), maker.all([], maker.random.pick([6, 1]))],
      x.dims,
    ),
  (maker, x) => maker.add('Clip', [x.name, maker.all([], 0)], x.dims),
  // hard-swish, silu and gelu from their parts
  (maker, x) => {
    const shifted = maker.add('Add', [x.name, maker.all([], 3)], x.dims);
    const clipped = maker.add('Clip', [shifted.name, maker.all([], 0), maker.all([], 6)], x.dims);
    const product = maker.add(
      'Mul',
      maker.random.chance(0.5) ? [x.name, clipped.name] : [clipped.name, x.name],
      x.dims,
    );
    return maker.add('Div', [product.name, maker.all([], 6)], x.dims);
  },
  (maker, x) => {
    const hard = maker.add('HardSigmoid', [x.name], x.dims, { alpha: 1 / 6, beta: 0.5 });
    return maker.add('Mul', [hard.name, x.name], x.dims);
  },
  (maker, x) => {
    const gate = maker.add('Sigmoid', [x.name], x.dims);
    return maker.add('Mul', maker.random.chance(0.5) ? [x.name, gate.name] : [gate.name, x.name], x.dims);
  },
  (maker, x) => {
    const erf = maker.add(
      'Erf',
      [maker.add('Div', [x.name, maker.all([], Math.SQRT2)], x.dims).name],
      x.dims,
    );
    const sum = maker.add('Add', [erf.name, maker.all([], 1)], x.dims);
    const product = maker.add('Mul', [x.name, sum.name], x.dims);
    return maker.add('Mul', [product.name, maker.all([], 0.5)], x.dims);
  },
];

export function activation(maker: Maker, x: Live): Live {
  return maker.random.pick(ACTIVATIONS)(maker, x);
}

/** Shapes that broadcast to an array's. */
function broadcast(maker: Maker, dims: readonly number[]): readonly number[] {
  const { random } = maker;
  const channels = dims.map((extent, axis) => (axis === 1 ? extent : 1));
  return random.pick([
    [],
    [1],
    channels,
    channels,
    channels.slice(1),
    dims.map((extent) => (random.chance(0.5) ? extent : 1)),
    dims.slice(-1),
  ]);
}

/** Plus, minus or times constants. */
export function affine(maker: Maker, x: Live): Live {
  const { random } = maker;
  const shape = broadcast(maker, x.dims);
  const op = random.pick(['Add', 'Mul', 'Sub', 'Div']);
  const constant = op === 'Add' || op === 'Sub' ? maker.floats(shape, 0.5) : maker.factors(shape);
  const turned = op !== 'Div' && random.chance(0.3);
  return maker.add(op, turned ? [constant, x.name] : [x.name, constant], x.dims);
}

/** Two values together; half of products, so that they stay about as large. */
export function together(maker: Maker, x: Live): Live {
  const other = maker.other(x.dims);
  const pair = maker.random.chance(0.5) ? [x.name, other.name] : [other.name, x.name];
  if (maker.random.chance(0.75)) return maker.add(maker.random.pick(['Add', 'Add', 'Sub']), pair, x.dims);
  const gate = maker.add('Sigmoid', [other.name], x.dims);
  return maker.add('Mul', [x.name, gate.name], x.dims);
}

export function slice(maker: Maker, x: Live): Live | undefined {
  const { random } = maker;
  const axis = random.int(1, x.dims.length - 1);
  const extent = x.dims[axis]!;
  if (extent < 3) return undefined;
  const from = random.int(0, 1);
  const step = random.int(1, 2);
  const count = Math.ceil((extent - from) / step);
  const inputs = [x.name, maker.ints(from), maker.ints(extent), maker.ints(axis), maker.ints(step)];
  return maker.add(
    'Slice',
    inputs,
    x.dims.map((own, i) => (i === axis ? count : own)),
  );
}

/** Functions of one or two arrays that few networks have, of bounded results. */
export function odd(maker: Maker, x: Live): Live {
  const { random } = maker;
  const { dims } = x;
  const other = maker.other(dims);
  const make = (op: string, ...inputs: readonly string[]) => maker.add(op, inputs, dims);
  switch (random.int(0, 7)) {
    case 0:
      return make('Sqrt', make('Abs', x.name).name);
    case 1:
      return make('Neg', x.name);
    case 2:
      return make(random.pick(['Max', 'Min', 'Sum', 'Mean']), x.name, other.name);
    case 3:
      return make('Exp', make('Neg', make('Abs', x.name).name).name);
    case 4:
      return make('Log', make('Add', make('Mul', x.name, x.name).name, maker.all([], 1)).name);
    case 5: {
      // a step from the one to the other would show every rounding
      const bound = maker.all(random.pick([[], [1]]), 0.25);
      return make('Where', make('Greater', x.name, bound).name, x.name, bound);
    }
    case 6:
      return make(
        'Reciprocal',
        make('Add', make('Pow', x.name, maker.all([], 2)).name, maker.all([1], 1)).name,
      );
    default:
      return make('Identity', x.name);
  }
}

/** The same shape by axes of one element, or by numbers that the graph works out of its own shape, as exporters write it. */
export function reshaped(maker: Maker, x: Live): Live {
  const { random } = maker;
  const rank = x.dims.length;
  if (random.chance(0.5)) {
    const axis = random.int(0, rank);
    const wide = [...x.dims.slice(0, axis), 1, ...x.dims.slice(axis)];
    const more = maker.add('Unsqueeze', [x.name, maker.ints(axis)], wide);
    return maker.add('Squeeze', [more.name, maker.ints(axis - (random.chance(0.5) ? rank + 1 : 0))], x.dims);
  }
  const shape = maker.add('Shape', [x.name], [rank]);
  const head = maker.add(
    'Slice',
    [shape.name, maker.ints(0), maker.ints(rank - 1), maker.ints(0)],
    [rank - 1],
  );
  const wanted = maker.add('Concat', [head.name, maker.ints(-1)], [rank], { axis: 0 });
  const flat = maker.add(
    'Reshape',
    [x.name, maker.ints(-1)],
    [x.dims.reduce((size, extent) => size * extent, 1)],
  );
  return maker.add('Reshape', [flat.name, wanted.name], x.dims);
}
