/** Products whose results are known to the last bit. */
import type { ArrayWithShape, Runtime, Tensor } from '../../src/ops/types.ts';

export interface Product {
  readonly a: ArrayWithShape;
  readonly b: ArrayWithShape;
  readonly expected: Float32Array;
}

/** Columns of `b` come again after so many: a prime, so that no mistake by a tile or a vector is one by a whole number of them. */
const COLUMNS = 97;

/** Small whole numbers: every order of summing gives the same bits, so a single wrong or missing element shows. */
export function wholeProduct(m: number, k: number, n: number, salt = 1): Product {
  const fill = (count: number, seed: number) =>
    Float32Array.from({ length: count }, (_, i) => ((Math.imul(i + 1, seed) >>> 7) % 7) - 3);
  const columns = Math.min(n, COLUMNS);
  const [a, distinct] = [fill(m * k, 2654435761 + 2 * salt), fill(k * columns, 2246822519 + 2 * salt)];
  const sums = new Float32Array(m * columns);
  for (let i = 0; i < m; i++) {
    for (let x = 0; x < k; x++) {
      const factor = a[i * k + x]!;
      for (let j = 0; j < columns; j++) sums[i * columns + j]! += factor * distinct[x * columns + j]!;
    }
  }
  const [b, expected] = [widened(distinct, k, columns, n), widened(sums, m, columns, n)];
  return { a: { data: a, shape: [m, k] }, b: { data: b, shape: [k, n] }, expected };
}

/** The same columns again and again until there are `n` of them. */
function widened(data: Float32Array, rows: number, columns: number, n: number): Float32Array {
  const wide = new Float32Array(rows * n);
  for (let row = 0; row < rows; row++)
    for (let at = 0; at < n; at += columns)
      wide.set(data.subarray(row * columns, row * columns + Math.min(columns, n - at)), row * n + at);
  return wide;
}

/** The first wrong element in words, or undefined. Disposes the result. */
export function wrong(result: Tensor, { expected }: Product): string | undefined {
  const { data } = result;
  const at = data.length === expected.length ? data.findIndex((value, i) => value !== expected[i]) : 0;
  const found = at < 0 ? undefined : `element ${at} is ${data[at]}, not ${expected[at]}`;
  result.dispose();
  return found;
}

export async function wrongAsync(rt: Runtime, product: Product): Promise<string | undefined> {
  return wrong(await rt.matmul(product.a, product.b), product);
}

export function wrongSync(rt: Runtime, product: Product): string | undefined {
  return wrong(rt.matmulSync(product.a, product.b), product);
}
