/**
 * Is the answer right? Small products are compared with a float64 reference element by element; big ones by
 * a random vector (Freivalds): C·r against A·(B·r) in float64, every element of C taking part, in the time of
 * three matrix-vector products. An activation is not linear, so big ones with one are checked on sampled rows.
 */
import { type Operands, randomSource } from './operands.ts';

export type Verdict =
  | { readonly ok: true; readonly method: VerifyMethod; readonly worst: number }
  | { readonly ok: false; readonly method: VerifyMethod; readonly reason: string };

export type VerifyMethod = 'every element' | 'random vector' | 'sampled rows';

const EPS = 2 ** -23;

/**
 * Allowed error in units of eps x sum|a||b|. Rounding of f32 sums with random signs has a standard deviation of
 * about 0.35 such units in the worst order (sequential), so 16 is never reached by rounding; one forgotten step
 * of k = 4096 still errs by some 250 times as much.
 */
const SLACK = 16;

/** gelu, silu, tanh and sigmoid are approximated; their absolute error counts too. */
const ACTIVATION_ERROR = 2e-3;

/** Multiply-adds up to which every element is checked: some 30 ms of plain JavaScript. */
const FULL_CHECK_LIMIT = 2 ** 24;

export function methodFor(operands: Operands): VerifyMethod {
  const { batch, shape } = operands;
  if (batch * shape.m * shape.k * shape.n <= FULL_CHECK_LIMIT) return 'every element';
  return isLinear(operands) ? 'random vector' : 'sampled rows';
}

export function verify(operands: Operands, c: Float32Array, method = methodFor(operands)): Verdict {
  const { batch, shape } = operands;
  const wanted = batch * shape.m * shape.n;
  if (c.length !== wanted) {
    return { ok: false, method, reason: `the result has ${c.length} elements instead of ${wanted}` };
  }
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

function isLinear({ shape }: Operands): boolean {
  return shape.activation === undefined || shape.activation === 'none';
}

/** First, last and evenly spread rows between, as many as the limit of a full check pays for. */
function sampleRows({ batch, shape }: Operands): readonly number[] {
  const rows = batch * shape.m;
  const affordable = Math.max(2, Math.floor(FULL_CHECK_LIMIT / (shape.k * shape.n)));
  const count = Math.min(rows, affordable);
  return Array.from({ length: count }, (_, i) => Math.round((i * (rows - 1)) / Math.max(1, count - 1)));
}

function verifyRow(
  operands: Operands,
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

function verifyByVector(operands: Operands, c: Float32Array): Verdict {
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
      const allowed = (SLACK * EPS * magnitude) / Math.sqrt(n) + EPS * Math.abs(sum) + Number.MIN_VALUE;
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

interface Projection {
  /** B·r */
  readonly sums: Float64Array;
  /** |B|·1: what the magnitude of a row of the result is made of. */
  readonly magnitudes: Float64Array;
}

function projectB({ b, shape }: Operands, index: number, signs: Float64Array): Projection {
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
  operands: Operands,
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

function biasAt({ bias, shape }: Operands, i: number, j: number): number {
  return bias === undefined ? 0 : at(bias, shape.bias === 'row' ? j : i);
}

function tolerance(operands: Operands, magnitude: number, expected: number): number {
  const rounding = SLACK * EPS * (magnitude + Math.abs(expected));
  const { activation } = operands.shape;
  const approximated = !isLinear(operands) && activation !== 'relu' && typeof activation !== 'object';
  return approximated ? 2 * rounding + ACTIVATION_ERROR : rounding;
}

/** The float64 activations, in their textbook form. */
export function activate(activation: Operands['shape']['activation'], x: number): number {
  if (typeof activation === 'object') return Math.min(activation.max, Math.max(activation.min, x));
  switch (activation) {
    case 'relu':
      return Math.max(0, x);
    case 'gelu':
      // The tanh form; the exact one differs by less than ACTIVATION_ERROR everywhere.
      return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
    case 'silu':
      return x / (1 + Math.exp(-x));
    case 'tanh':
      return Math.tanh(x);
    case 'sigmoid':
      return 1 / (1 + Math.exp(-x));
    case 'none':
    case undefined:
      return x;
    default:
      return activation satisfies never;
  }
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

/** Typed arrays are read inside their bounds here; NaN would fail the check rather than hide. */
function at(values: Float32Array | Float64Array, index: number): number {
  return values[index] ?? Number.NaN;
}
