/**
 * Exact mode as its definition reads, in plain JavaScript: each element sums in k order, multiply then add, every step
 * rounded to f32. (Products of two f32 are exact in float64, and rounding a float64 sum of two f32 once more is harmless.)
 */
import { broadcastMap, sizeOf } from '../../src/core/shape.ts';
import type { MatmulProblem } from '../../src/problem/matmul.ts';
import type { Values } from './problems.ts';

const { fround } = Math;

/** Activations whose result needs no elementary function. */
export function canEmulate({ activation }: MatmulProblem): boolean {
  return activation === 'none' || activation === 'relu' || activation === 'clip';
}

function finish(p: MatmulProblem, values: Values, sum: number, old: number, bias: number): number {
  let v = sum;
  if (p.scaled) v = fround(v * fround(values.alpha));
  if (p.accumulate) v = fround(v + fround(old * fround(values.beta)));
  v = fround(v + bias);
  if (p.activation === 'relu') v = Math.max(0, v);
  if (p.activation === 'clip') v = Math.min(Math.max(v, fround(values.p0)), fround(values.p1));
  return v;
}

export function emulateExact(p: MatmulProblem, values: Values): Float32Array {
  const { a, b } = values;
  const whole = p.leading ? p.leading.out : [p.batch];
  const mapA = broadcastMap(p.leading ? p.leading.a : [p.sharedA ? 1 : p.batch], whole);
  const mapB = broadcastMap(p.leading ? p.leading.b : [p.sharedB ? 1 : p.batch], whole);
  const out = new Float32Array(p.batch * p.m * p.n);
  for (let q = 0; q < sizeOf(whole); q++) {
    const [fromA, fromB] = [mapA[q]! * p.m * p.k, mapB[q]! * p.k * p.n];
    for (let i = 0; i < p.m; i++) {
      for (let j = 0; j < p.n; j++) {
        let sum = 0;
        for (let x = 0; x < p.k; x++) {
          const left = a[fromA + (p.transposeA ? x * p.m + i : i * p.k + x)]!;
          const right = b[fromB + (p.transposeB ? j * p.k + x : x * p.n + j)]!;
          sum = fround(sum + fround(left * right));
        }
        const at = (q * p.m + i) * p.n + j;
        const bias = p.bias === 'row' ? values.bias![j]! : p.bias === 'column' ? values.bias![i]! : 0;
        out[at] = finish(p, values, sum, values.c0?.[at] ?? 0, bias);
      }
    }
  }
  return out;
}
