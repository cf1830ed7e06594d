/** Steps of networks at random that go on from tokens [n, length, width] or from lines [n, width]. */
import type { Live, Maker } from './random-network.ts';
import { activation, affine, odd, reshaped, type Step, slice, together, weights } from './random-steps.ts';

/** An image's pixels as tokens [n, h * w, c]. */
export function tokens(maker: Maker, x: Live): Live {
  const [n, c, h, w] = x.dims as [number, number, number, number];
  const flat = maker.add('Reshape', [x.name, maker.ints(maker.random.pick([n, 0]), c, -1)], [n, c, h * w]);
  return maker.add('Transpose', [flat.name], [n, h * w, c], { perm: [0, 2, 1] });
}

function matmul(maker: Maker, x: Live): Live {
  const { random } = maker;
  const k = x.dims.at(-1)!;
  const n = random.int(2, 24);
  const product = maker.add('MatMul', [x.name, weights(maker, [k, n], k)], [...x.dims.slice(0, -1), n]);
  if (random.chance(0.3)) return product;
  const bias = maker.floats(random.pick([[n], [...x.dims.slice(1).map(() => 1), n]]), 0.3);
  return maker.add('Add', random.chance(0.5) ? [product.name, bias] : [bias, product.name], product.dims);
}

function layerNorm(maker: Maker, x: Live): Live {
  const width = x.dims.at(-1)!;
  const [scale, bias] = [maker.factors([width]), maker.floats([width], 0.3)];
  if (maker.random.chance(0.3))
    return maker.add('LayerNormalization', [x.name, scale, bias], x.dims, { axis: -1, epsilon: 1e-3 });
  const line = [...x.dims.slice(0, -1), 1];
  const mean = maker.add('ReduceMean', [x.name], line, { axes: [-1], keepdims: 1 });
  const centred = maker.add('Sub', [x.name, mean.name], x.dims);
  const square = maker.add('Pow', [centred.name, maker.all([], 2)], x.dims);
  const variance = maker.add('ReduceMean', [square.name], line, { axes: [-1], keepdims: 1 });
  const root = maker.add('Sqrt', [maker.add('Add', [variance.name, maker.all([], 1e-3)], line).name], line);
  const normal = maker.add('Div', [centred.name, root.name], x.dims);
  const scaled = maker.add('Mul', [normal.name, scale], x.dims);
  return maker.add('Add', [scaled.name, bias], x.dims);
}

/** Attention of `heads` heads, from its parts. */
function attention(maker: Maker, x: Live): Live | undefined {
  const { random } = maker;
  const [n, length, width] = x.dims as [number, number, number];
  const [heads, size] = [random.int(1, 3), random.int(2, 6)];
  if (length > 200) return undefined;
  const headed = (perm: readonly number[]): Live => {
    const flat = maker.add(
      'MatMul',
      [x.name, weights(maker, [width, heads * size], width)],
      [n, length, heads * size],
    );
    const four = maker.add('Reshape', [flat.name, maker.ints(0, -1, heads, size)], [n, length, heads, size]);
    return maker.add(
      'Transpose',
      [four.name],
      perm.map((axis) => four.dims[axis]!),
      { perm },
    );
  };
  const [q, k, v] = [headed([0, 2, 1, 3]), headed([0, 2, 3, 1]), headed([0, 2, 1, 3])];
  const scale = maker.all([], 1 / Math.sqrt(size));
  const early = random.chance(0.4);
  const query = early ? maker.add('Mul', [q.name, scale], q.dims) : q;
  let scores = maker.add('MatMul', [query.name, k.name], [n, heads, length, length]);
  if (!early) scores = maker.add('Mul', [scores.name, scale], scores.dims);
  if (random.chance(0.4))
    scores = maker.add('Add', [scores.name, maker.floats([1, 1, length, length])], scores.dims);
  const shares = maker.add('Softmax', [scores.name], scores.dims, { axis: random.pick([3, -1]) });
  const sums = maker.add('MatMul', [shares.name, v.name], q.dims);
  const back = maker.add('Transpose', [sums.name], [n, length, heads, size], { perm: [0, 2, 1, 3] });
  return maker.add('Reshape', [back.name, maker.ints(0, 0, heads * size)], [n, length, heads * size]);
}

/** An image's means as lines [n, c], or all of a small one. */
export function lines(maker: Maker, x: Live): Live {
  const [n, c, h, w] = x.dims as [number, number, number, number];
  if (c * h * w <= 200) return maker.add('Flatten', [x.name], [n, c * h * w], { axis: 1 });
  return maker.add('Flatten', [maker.add('GlobalAveragePool', [x.name], [n, c, 1, 1]).name], [n, c]);
}

function gemm(maker: Maker, x: Live): Live {
  const { random } = maker;
  const [n, k] = x.dims as [number, number];
  const width = random.int(1, 20);
  const transB = random.int(0, 1);
  const bias = random.chance(0.7)
    ? [maker.floats(random.pick([[width], [1, width], [n, width], [n, 1], []]), 0.3)]
    : [];
  const alpha = random.chance(0.7) ? 1 : 0.5;
  const inputs = [x.name, weights(maker, transB ? [width, k] : [k, width], k), ...bias];
  return maker.add('Gemm', inputs, [n, width], { transB, alpha, beta: random.chance(0.7) ? 1 : 0.7 });
}

function turnTokens(maker: Maker, x: Live): Live {
  const [n, length, width] = x.dims as [number, number, number];
  return maker.add('Transpose', [x.name], [n, width, length], { perm: [0, 2, 1] });
}

function softmax(maker: Maker, x: Live): Live {
  return maker.add('Softmax', [x.name], x.dims, { axis: maker.random.int(1, x.dims.length - 1) });
}

function reduce(maker: Maker, x: Live): Live {
  const axis = x.dims.length - 1;
  const mean = maker.add(
    maker.random.pick(['ReduceMean', 'ReduceMax']),
    [x.name],
    [...x.dims.slice(0, -1), 1],
    { axes: [axis], keepdims: 1 },
  );
  return maker.add('Sub', [x.name, mean.name], x.dims);
}

/** As often as they are listed. */
export const TOKEN_STEPS: readonly Step[] = [
  matmul,
  matmul,
  matmul,
  activation,
  activation,
  together,
  together,
  affine,
  layerNorm,
  layerNorm,
  attention,
  attention,
  turnTokens,
  softmax,
  reduce,
  slice,
  odd,
  reshaped,
];

export const LINE_STEPS: readonly Step[] = [
  gemm,
  gemm,
  gemm,
  matmul,
  activation,
  activation,
  together,
  affine,
  layerNorm,
  softmax,
  reduce,
  odd,
  reshaped,
  slice,
];
