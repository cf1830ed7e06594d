/** Products of matrices. */
import { sizeOf } from '../../core/shape.ts';
import { biasKind } from '../../ops/operands.ts';
import { matrixOf } from '../../ops/panels.ts';
import type { DenseTensor, Panels } from '../../ops/tensor.ts';
import type { MatmulOptions, Prepacked } from '../../ops/types.ts';
import type { Context } from '../context.ts';
import { Value } from '../value.ts';
import { binary } from './elementwise.ts';
import { fusedActivation } from './fused.ts';
import { type Operators, operator } from './types.ts';

/** A function of its own, so that what it closes over is nothing else. */
function unpacking(panels: Panels, isTransposed: boolean): () => Float32Array {
  return () => matrixOf(panels, isTransposed);
}

/** A constant right operand is packed once, for as many rows as the first product has. */
function rightOf(context: Context, b: Value, m: number, transposeB: boolean): DenseTensor | Prepacked {
  if (!b.isConstant || !b.hasNumbers || b.rank !== 2) return context.tensor(b);
  const prepared = transposeB ? context.kept.turned : context.kept.prepared;
  const known = prepared.get(b.key);
  if (known) return known;
  const made = context.outside(() => {
    using matrix = context.placed(b);
    return context.kept.own(context.rt.prepack(matrix, { transposeB, m }));
  });
  prepared.set(b.key, made);
  b.letGo(unpacking(made as Panels, transposeB));
  return made;
}

/** NumPy's matmul; with a bias for each column where one was joined to it. */
export function matmul(context: Context, a: Value, b: Value, bias?: Value): Value {
  const left = a.rank === 1 ? context.reshaped(a, [1, a.size]) : a;
  const right = b.rank === 1 ? context.reshaped(b, [b.size, 1]) : b;
  const y = product(context, left, right, bias);
  for (const [value, own] of [
    [left, a],
    [right, b],
  ])
    if (value !== own) value!.dispose();
  if (a.rank > 1 && b.rank > 1) return y;
  const shape = y.shape.filter(
    (_, axis) => !(a.rank === 1 && axis === y.rank - 2) && !(b.rank === 1 && axis === y.rank - 1),
  );
  const result = context.reshaped(y, shape);
  y.dispose();
  return result;
}

function product(context: Context, a: Value, b: Value, bias: Value | undefined): Value {
  const options: MatmulOptions = {
    activation: fusedActivation(context),
    ...(bias ? { bias: context.tensor(bias) } : {}),
  };
  if (b.rank > 2)
    return context.result(context.rt.matmulSync(context.tensor(a), context.tensor(b), options), a.type);
  // one matrix for all: its product with all rows at once
  const [k, n] = b.shape as [number, number];
  const m = k === 0 ? sizeOf(a.shape.slice(0, -1)) : a.size / k;
  const rows = a.rank > 2 ? context.reshaped(a, [m, a.shape.at(-1)!]) : a;
  const y = context.result(
    context.rt.matmulSync(context.tensor(rows), rightOf(context, b, m, false), options),
    a.type,
  );
  if (rows === a) return y;
  const result = context.reshaped(y, [...a.shape.slice(0, -1), n]);
  rows.dispose();
  y.dispose();
  return result;
}

/** Whether C can be added in the product's last pass. */
function isBias(c: Value, m: number, n: number): boolean {
  try {
    biasKind(c.shape, m, n);
    return true;
  } catch {
    return false;
  }
}

function gemm(context: Context, a: Value, b: Value, c?: Value): Value {
  const [transposeA, transposeB] = [context.int('transA', 0) === 1, context.int('transB', 0) === 1];
  const [alpha, beta] = [context.float('alpha', 1), context.float('beta', 1)];
  const m = a.shape[transposeA ? 1 : 0]!;
  const n = b.shape[transposeB ? 0 : 1]!;
  const inPass = c !== undefined && beta === 1 && isBias(c, m, n);
  const packed = rightOf(context, b, m, transposeB);
  const options = {
    transposeA,
    alpha,
    ...(packed === b.tensor ? { transposeB } : {}),
    ...(inPass ? { bias: context.tensor(c) } : {}),
    ...(c === undefined || inPass ? { activation: fusedActivation(context) } : {}),
  };
  const y = context.result(context.rt.matmulSync(context.tensor(a), packed, options), a.type);
  if (c === undefined || inPass) return y;
  const scale = context.number(beta);
  const sum = binary(context, 'add', y, beta === 1 ? c : binary(context, 'mul', c, scale));
  y.dispose();
  const activation = fusedActivation(context);
  return activation === 'none'
    ? sum
    : Value.ofTensor(context.rt.unarySync(activation, sum.tensor!) as DenseTensor, a.type);
}

/** The determinant of each matrix: eliminated row by row, the largest element first. On the host. */
function determinant(context: Context, x: Value): Value {
  const n = x.shape.at(-1)!;
  const numbers = context.numbers(x);
  const out = Float64Array.from({ length: n === 0 ? 1 : x.size / (n * n) }, (_, at) => {
    const a = Float64Array.from(numbers.subarray(at * n * n, (at + 1) * n * n));
    let product = 1;
    for (let k = 0; k < n; k++) {
      let pivot = k;
      for (let row = k + 1; row < n; row++)
        if (Math.abs(a[row * n + k]!) > Math.abs(a[pivot * n + k]!)) pivot = row;
      if (pivot !== k) {
        const old = a.slice(k * n, (k + 1) * n);
        a.copyWithin(k * n, pivot * n, (pivot + 1) * n);
        a.set(old, pivot * n);
        product = -product;
      }
      const value = a[k * n + k]!;
      product *= value;
      if (value === 0) break;
      for (let row = k + 1; row < n; row++) {
        const factor = a[row * n + k]! / value;
        for (let column = k; column < n; column++) a[row * n + column]! -= factor * a[k * n + column]!;
      }
    }
    return product;
  });
  return context.made(x.type, x.shape.slice(0, -2), out, [x]);
}

export const MATRIX: Operators = {
  Det: operator(11, 1, determinant),
  MatMul: operator(1, 2, matmul),
  Gemm: operator(1, 2, gemm),
};
