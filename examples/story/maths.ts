/**
 * The small vector loops of the network, on plain Float32Array views: everything that is no matrix product. Sums are
 * made in double precision and in a fixed order, so they are the same wherever they run.
 */

/** Keeps the root mean square of a zero vector away from zero; the value that these networks are trained with. */
const RMS_EPSILON = 1e-5;
/** Base of the rotary frequencies, as in llama2.c: the file format has no field for it. */
const ROTARY_BASE = 10000;

/** Matrices with the same inputs, one below the other. */
export function stacked(parts: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** cos and sin of position x frequency, [positions, headSize / 2]. */
export function rotaryTables(positions: number, headSize: number): [Float32Array, Float32Array] {
  const half = headSize / 2;
  const angles = Float64Array.from({ length: positions * half }, (_, i) => {
    return Math.floor(i / half) / ROTARY_BASE ** ((2 * (i % half)) / headSize);
  });
  return [Float32Array.from(angles, Math.cos), Float32Array.from(angles, Math.sin)];
}

/** out = x / rms(x) * weight, over one vector of the weight's length. */
export function rmsNorm(
  x: Float32Array,
  out: Float32Array,
  from: number,
  to: number,
  weight: Float32Array,
): void {
  const count = weight.length;
  let squares = 0;
  for (let i = from; i < from + count; i++) squares += x[i]! * x[i]!;
  const scale = 1 / Math.sqrt(squares / count + RMS_EPSILON);
  for (let i = 0; i < count; i++) out[to + i] = weight[i]! * (scale * x[from + i]!);
}

/** The same for vectors one below the other. */
export function normRows(x: Float32Array, out: Float32Array, rows: number, weight: Float32Array): void {
  for (let row = 0; row < rows; row++) rmsNorm(x, out, row * weight.length, row * weight.length, weight);
}

export function multiplyInto(target: Float32Array, factor: Float32Array): void {
  for (let i = 0; i < target.length; i++) target[i] = target[i]! * factor[i]!;
}

/** Four sums at once, for the processor to overlap; always the same four, so always the same result. */
export function dot(a: Float32Array, aAt: number, b: Float32Array, bAt: number, count: number): number {
  let s0 = 0;
  let s1 = 0;
  let s2 = 0;
  let s3 = 0;
  let i = 0;
  for (; i + 4 <= count; i += 4) {
    s0 += a[aAt + i]! * b[bAt + i]!;
    s1 += a[aAt + i + 1]! * b[bAt + i + 1]!;
    s2 += a[aAt + i + 2]! * b[bAt + i + 2]!;
    s3 += a[aAt + i + 3]! * b[bAt + i + 3]!;
  }
  for (; i < count; i++) s0 += a[aAt + i]! * b[bAt + i]!;
  return s0 + s1 + (s2 + s3);
}

/**
 * out = the sum of weights[t] x row t of `rows`, four columns at a time: their sums stay in registers, and a pass over
 * the rows serves all four.
 */
export function weightedSum(
  weights: Float32Array,
  count: number,
  rows: Float32Array,
  rowsAt: number,
  out: Float32Array,
  outAt: number,
  size: number,
): void {
  let i = 0;
  for (; i + 4 <= size; i += 4) {
    let s0 = 0;
    let s1 = 0;
    let s2 = 0;
    let s3 = 0;
    for (let t = 0, at = rowsAt + i; t < count; t++, at += size) {
      const weight = weights[t]!;
      s0 += weight * rows[at]!;
      s1 += weight * rows[at + 1]!;
      s2 += weight * rows[at + 2]!;
      s3 += weight * rows[at + 3]!;
    }
    out[outAt + i] = s0;
    out[outAt + i + 1] = s1;
    out[outAt + i + 2] = s2;
    out[outAt + i + 3] = s3;
  }
  for (; i < size; i++) {
    let sum = 0;
    for (let t = 0; t < count; t++) sum += weights[t]! * rows[rowsAt + t * size + i]!;
    out[outAt + i] = sum;
  }
}

/** Between [rows, width] with the heads side by side and [heads, rows, size] with the heads one after the other. */
export function copyHeads(
  side: Float32Array,
  width: number,
  stack: Float32Array,
  rows: number,
  heads: number,
  size: number,
  way: 'gather' | 'scatter',
): void {
  for (let head = 0; head < heads; head++) {
    for (let row = 0; row < rows; row++) {
      const inSide = row * width + head * size;
      const inStack = (head * rows + row) * size;
      if (way === 'gather') stack.set(side.subarray(inSide, inSide + size), inStack);
      else side.set(stack.subarray(inStack, inStack + size), inSide);
    }
  }
}

/** Softmax of each row of [heads, rows, span] over the positions up to the row's own; later ones weigh nothing. */
export function causalSoftmax(
  scores: Float32Array,
  heads: number,
  rows: number,
  span: number,
  position: number,
): void {
  for (let head = 0; head < heads; head++) {
    for (let row = 0; row < rows; row++) {
      const start = (head * rows + row) * span;
      const seen = position + row + 1;
      softmax(scores, start, seen);
      scores.fill(0, start + seen, start + span);
    }
  }
}

/** Makes `count` scores from `start` on into probabilities; the greatest is taken off first, so that exp stays finite. */
export function softmax(values: Float32Array, start: number, count: number): void {
  const end = start + count;
  let max = Number.NEGATIVE_INFINITY;
  for (let i = start; i < end; i++) if (values[i]! > max) max = values[i]!;
  let sum = 0;
  for (let i = start; i < end; i++) {
    const e = Math.exp(values[i]! - max);
    values[i] = e;
    sum += e;
  }
  const scale = 1 / sum;
  for (let i = start; i < end; i++) values[i] = values[i]! * scale;
}
