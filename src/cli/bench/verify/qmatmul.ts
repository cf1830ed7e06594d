/**
 * Products of integers have one right answer: any difference is wrong. Small ones are compared element by element, big ones by a
 * random vector (Freivalds): C·r against A·(B·r), exact in float64. No number of the vector is 0, so a single wrong element is
 * always found, wherever it stands. Rows that disagree are compared element by element, which decides: sums beyond 2^31 wrap
 * around, as ONNX's do, and then disagree although they are right.
 */
import { type QmatmulOperands, randomSource } from '../operands.ts';
import { FULL_CHECK_LIMIT, type Verdict, type VerifyMethod } from './tolerance.ts';

/** The vector's numbers are odd and below this in size: small enough for every sum of the check to stay below 2^53. */
const VECTOR_SIZE = 512;

export function methodForQmatmul({ shape: { m, k, n } }: QmatmulOperands): VerifyMethod {
  return m * k * n <= FULL_CHECK_LIMIT ? 'every element' : 'random vector';
}

export function verifyQmatmul(operands: QmatmulOperands, c: Int32Array, method: VerifyMethod): Verdict {
  const { m, n } = operands.shape;
  const fail = (reason: string): Verdict => ({ ok: false, method, reason });
  if (c.length !== m * n) return fail(`the result has ${c.length} elements instead of ${m * n}`);
  const isRight = method === 'every element' ? () => false : projected(operands, c);
  for (let i = 0; i < m; i++) {
    if (isRight(i)) continue;
    const expected = rowOf(operands, i);
    const j = expected.findIndex((value, column) => value !== c[i * n + column]);
    if (j >= 0) return fail(`element [${i}, ${j}] is ${c[i * n + j]} instead of ${expected[j]}`);
  }
  return { ok: true, method, worst: 0 };
}

/** One row of the result, element by element; the conversion wraps around. */
function rowOf({ shape, a, b }: QmatmulOperands, i: number): Int32Array {
  const { k, n, aZeroPoint, bZeroPoint } = shape;
  const sums = new Float64Array(n);
  for (let p = 0; p < k; p++) {
    const left = a[i * k + p]! - aZeroPoint;
    for (let j = 0, at = p * n; j < n; j++, at++) sums[j]! += left * (b[at]! - bZeroPoint);
  }
  return Int32Array.from(sums);
}

/** Whether a row of C agrees with the vector. */
function projected({ shape, a, b }: QmatmulOperands, c: Int32Array): (i: number) => boolean {
  const { k, n, aZeroPoint, bZeroPoint } = shape;
  const random = randomSource(0x7e55e7ae);
  const vector = Float64Array.from(
    { length: n },
    () => 2 * Math.floor(random() * VECTOR_SIZE) - (VECTOR_SIZE - 1),
  );
  const sums = new Float64Array(k);
  for (let p = 0, at = 0; p < k; p++) {
    for (let j = 0; j < n; j++, at++) sums[p]! += (b[at]! - bZeroPoint) * vector[j]!;
  }
  return (i) => {
    let [expected, got] = [0, 0];
    for (let p = 0; p < k; p++) expected += (a[i * k + p]! - aZeroPoint) * sums[p]!;
    for (let j = 0; j < n; j++) got += c[i * n + j]! * vector[j]!;
    return got === expected;
  };
}
