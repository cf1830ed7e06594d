/**
 * Matrix products. Small ones are compared with a float64 reference element by element; big ones by a random vector
 * (Freivalds): C·r against A·(B·r) in float64, every element of C taking part, in the time of three matrix-vector products.
 * An activation is not linear, so big ones with one are checked on sampled rows.
 */
import { type MatmulOperands, randomSource } from '../operands.ts';
import {
  activate,
  afterActivation,
  at,
  FULL_CHECK_LIMIT,
  isLinear,
  roundingOf,
  type Verdict,
  type VerifyMethod,
} from './tolerance.ts';

export function methodForMatmul({ batch, shape }: MatmulOperands): VerifyMethod {
  if (shape.chain) return 'random vector';
  if (batch * shape.m * shape.k * shape.n <= FULL_CHECK_LIMIT) return 'every element';
  return isLinear(shape.activation) ? 'random vector' : 'sampled rows';
}

export function verifyMatmul(operands: MatmulOperands, c: Float32Array, method: VerifyMethod): Verdict {
  const { batch, shape } = operands;
  const wanted = batch * shape.m * shape.n;
  if (c.length !== wanted) {
    return { ok: false, method, reason: `the result has ${c.length} elements instead of ${wanted}` };
  }
  if (shape.chain) return verifyChain(operands, c, shape.chain);
  if (method === 'random vector') return verifyByVector(operands, c);
  const { m } = shape;
  const rowsToCheck =
    method === 'sampled rows' ? sampleRows(operands) : Array.from({ length: batch * m }, (_, i) => i);
  let worst = 0;
  for (const row of rowsToCheck) {
    const verdict = verifyRow(operands, c, Math.floor(row / m), row % m, method);
    if (!verdict.ok) return verdict;
    worst = Math.max(worst, verdict.worst);
  }
  return { ok: true, method, worst };
}

/** First, last and evenly spread rows between, as many as the limit of a full check pays for. */
function sampleRows({ batch, shape }: MatmulOperands): readonly number[] {
  const rows = batch * shape.m;
  const affordable = Math.max(2, Math.floor(FULL_CHECK_LIMIT / (shape.k * shape.n)));
  const count = Math.min(rows, affordable);
  return Array.from({ length: count }, (_, i) => Math.round((i * (rows - 1)) / Math.max(1, count - 1)));
}

function verifyRow(
  operands: MatmulOperands,
  c: Float32Array,
  index: number,
  i: number,
  method: VerifyMethod,
): Verdict {
  const { a, b, shape } = operands;
  const { m, k, n, transposeB = false } = shape;
  const rowOfA = (index * m + i) * k;
  const baseOfB = index * k * n;
  let worst = 0;
  for (let j = 0; j < n; j++) {
    let sum = 0;
    let magnitude = 0;
    for (let p = 0; p < k; p++) {
      const product = at(a, rowOfA + p) * at(b, baseOfB + (transposeB ? j * k + p : p * n + j));
      sum += product;
      magnitude += Math.abs(product);
    }
    const expected = activate(shape.activation, sum + biasAt(operands, i, j));
    const got = at(c, (index * m + i) * n + j);
    const allowed = tolerance(operands, magnitude, expected);
    const error = Math.abs(got - expected);
    // Written so that NaN, which compares false with everything, fails.
    if (!(error <= allowed))
      return { ok: false, method, reason: mismatch(index, i, j, got, expected, allowed) };
    worst = Math.max(worst, allowed === 0 ? 0 : error / allowed);
  }
  return { ok: true, method, worst };
}

function verifyByVector(operands: MatmulOperands, c: Float32Array): Verdict {
  const method = 'random vector';
  const { batch, shape } = operands;
  const { m, k, n } = shape;
  const random = randomSource(0x7e55e7ae);
  const signs = Float64Array.from({ length: n }, () => (random() < 0.5 ? -1 : 1));
  let worst = 0;
  for (let index = 0; index < batch; index++) {
    const projected = projectB(operands, index, signs);
    for (let i = 0; i < m; i++) {
      const { sum, magnitude } = expectedRow(operands, index, i, projected, signs);
      let got = 0;
      for (let j = 0, row = (index * m + i) * n; j < n; j++) got += at(c, row + j) * at(signs, j);
      // The n rounding errors of a row have random signs too: they add up like a random walk.
      const allowed = roundingOf(magnitude) / Math.sqrt(n) + roundingOf(Math.abs(sum), 1) + Number.MIN_VALUE;
      const error = Math.abs(got - sum);
      if (!(error <= allowed)) {
        const where = batch === 1 ? `row ${i}` : `product ${index}, row ${i}`;
        return {
          ok: false,
          method,
          reason: `${where} is wrong: C·r is ${got}, A·(B·r) is ${sum} (k = ${k})`,
        };
      }
      worst = Math.max(worst, error / allowed);
    }
  }
  return { ok: true, method, worst };
}

/** Of a chain's results, by their size on the whole: errors grow from product to product, one wrong element shows a thousand times more. */
const CHAIN_TOLERANCE = 1e-5;

/** A·B·B·…·r, from the right. */
function verifyChain(operands: MatmulOperands, c: Float32Array, length: number): Verdict {
  const method = 'random vector';
  const { m, n } = operands.shape;
  const random = randomSource(0x7e55e7ae);
  const signs = Float64Array.from({ length: n }, () => (random() < 0.5 ? -1 : 1));
  let projected = projectB(operands, 0, signs);
  for (let step = 1; step < length; step++) projected = projectB(operands, 0, projected.sums);
  const sums = Array.from({ length: m }, (_, i) => expectedRow(operands, 0, i, projected, signs).sum);
  const size = Math.sqrt(sums.reduce((total, sum) => total + sum * sum, 0) / m);
  const allowed = CHAIN_TOLERANCE * length * size + Number.MIN_VALUE;
  let worst = 0;
  for (const [i, sum] of sums.entries()) {
    let got = 0;
    for (let j = 0; j < n; j++) got += at(c, i * n + j) * at(signs, j);
    const error = Math.abs(got - sum);
    if (!(error <= allowed))
      return { ok: false, method, reason: `row ${i} is wrong: C·r is ${got}, A·B·…·r is ${sum}` };
    worst = Math.max(worst, error / allowed);
  }
  return { ok: true, method, worst };
}

interface Projection {
  /** B·r */
  readonly sums: Float64Array;
  /** |B|·1: what the magnitude of a row of the result is made of. */
  readonly magnitudes: Float64Array;
}

function projectB({ b, shape }: MatmulOperands, index: number, signs: Float64Array): Projection {
  const { k, n, transposeB = false } = shape;
  const base = index * k * n;
  const sums = new Float64Array(k);
  const magnitudes = new Float64Array(k);
  // Walks B in the order in which it is stored: it may be hundreds of megabytes.
  const [rows, columns] = transposeB ? [n, k] : [k, n];
  for (let row = 0, offset = base; row < rows; row++) {
    for (let column = 0; column < columns; column++, offset++) {
      const [p, j] = transposeB ? [column, row] : [row, column];
      const value = at(b, offset);
      sums[p] = at(sums, p) + value * at(signs, j);
      magnitudes[p] = at(magnitudes, p) + Math.abs(value);
    }
  }
  return { sums, magnitudes };
}

function expectedRow(
  operands: MatmulOperands,
  index: number,
  i: number,
  projected: Projection,
  signs: Float64Array,
) {
  const { a, shape } = operands;
  const { m, k, n } = shape;
  let sum = 0;
  let magnitude = 0;
  for (let p = 0, row = (index * m + i) * k; p < k; p++) {
    const value = at(a, row + p);
    sum += value * at(projected.sums, p);
    magnitude += Math.abs(value) * at(projected.magnitudes, p);
  }
  if (operands.bias === undefined) return { sum, magnitude };
  for (let j = 0; j < n; j++) {
    const bias = biasAt(operands, i, j);
    sum += bias * at(signs, j);
    magnitude += Math.abs(bias);
  }
  return { sum, magnitude };
}

function biasAt({ bias, shape }: MatmulOperands, i: number, j: number): number {
  return bias === undefined ? 0 : at(bias, shape.bias === 'row' ? j : i);
}

function tolerance({ shape }: MatmulOperands, magnitude: number, expected: number): number {
  return afterActivation(shape.activation, roundingOf(magnitude + Math.abs(expected)));
}

function mismatch(
  index: number,
  i: number,
  j: number,
  got: number,
  expected: number,
  allowed: number,
): string {
  return `element [${index}, ${i}, ${j}] is ${got} instead of ${expected} (allowed error ${allowed.toExponential(1)})`;
}
