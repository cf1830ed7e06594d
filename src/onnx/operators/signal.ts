/** Windows and transforms of signals, on the host in float64: they prepare what a network is fed with. */
import { sizeOf } from '../../core/shape.ts';
import type { Context } from '../context.ts';
import { typeOfCode } from '../model/tensor-proto.ts';
import type { Value } from '../value.ts';
import { type Operators, operator } from './types.ts';

/** Sums of cosines: w(n) = a0 - a1 cos(2 pi n / N) + a2 cos(4 pi n / N), N one less where the window is symmetric. */
function window(a0: number, a1: number, a2 = 0) {
  return operator(17, 1, (context: Context, size: Value): Value => {
    const [count] = context.ints(size) as [number];
    const type = typeOfCode(context.int('output_datatype', 1));
    if (!type || count < 0) throw context.refuse(`a window of ${count}`, { size: count });
    const turn = context.int('periodic', 1) === 1 ? count : count - 1;
    const data = Float64Array.from({ length: count }, (_, n) => {
      const at = turn === 0 ? 0 : (2 * Math.PI * n) / turn;
      return a0 - a1 * Math.cos(at) + a2 * Math.cos(2 * at);
    });
    return context.made(type, [count], data, [size]);
  });
}

/** Real and imaginary parts by turns. */
type Complex = Float64Array;

/** The discrete Fourier transform: halves as long as there is a half (Cooley & Tukey, 1965), else by its definition. */
function transform(x: Complex, sign: number): Complex {
  const n = x.length / 2;
  if (n < 2) return x.slice();
  if (n % 2 === 1) return transformByDefinition(x, sign);
  const [even, odd] = [0, 1].map((first) => {
    const part = new Float64Array(n);
    for (let i = 0; i < n / 2; i++) part.set(x.subarray(2 * (2 * i + first), 2 * (2 * i + first) + 2), 2 * i);
    return transform(part, sign);
  }) as [Complex, Complex];
  const out = new Float64Array(2 * n);
  for (let k = 0; k < n / 2; k++) {
    const angle = (sign * 2 * Math.PI * k) / n;
    const [c, s] = [Math.cos(angle), Math.sin(angle)];
    const re = c * odd[2 * k]! - s * odd[2 * k + 1]!;
    const im = c * odd[2 * k + 1]! + s * odd[2 * k]!;
    out[2 * k] = even[2 * k]! + re;
    out[2 * k + 1] = even[2 * k + 1]! + im;
    out[2 * k + n] = even[2 * k]! - re;
    out[2 * k + n + 1] = even[2 * k + 1]! - im;
  }
  return out;
}

function transformByDefinition(x: Complex, sign: number): Complex {
  const n = x.length / 2;
  const out = new Float64Array(2 * n);
  for (let k = 0; k < n; k++)
    for (let i = 0; i < n; i++) {
      const angle = (sign * 2 * Math.PI * ((k * i) % n)) / n;
      const [c, s] = [Math.cos(angle), Math.sin(angle)];
      out[2 * k]! += c * x[2 * i]! - s * x[2 * i + 1]!;
      out[2 * k + 1]! += c * x[2 * i + 1]! + s * x[2 * i]!;
    }
  return out;
}

/** What of a spectrum is given where the other half follows from it. */
function bins(length: number, isOneSided: boolean): number {
  return isOneSided ? Math.floor(length / 2) + 1 : length;
}

/** The axis is an attribute up to opset 19, then an input. */
function dft(context: Context, x: Value, lengthInput?: Value, axisInput?: Value): Value {
  const [parts] = x.shape.slice(-1) as [number];
  const axis = context.axis(
    axisInput ? context.ints(axisInput)[0]! : context.int('axis', context.opset < 20 ? 1 : -2),
    x.rank,
  );
  const isInverse = context.int('inverse', 0) === 1;
  const isOneSided = context.int('onesided', 0) === 1;
  if (axis === x.rank - 1 || parts > 2)
    throw context.refuse('the last axis holds parts of numbers', { axis });
  const extent = x.shape[axis]!;
  const length = lengthInput ? context.ints(lengthInput)[0]! : extent;
  const kept = bins(length, isOneSided);
  const inner = sizeOf(x.shape.slice(axis + 1, -1));
  const outer = sizeOf(x.shape.slice(0, axis));
  const numbers = context.numbers(x);
  const out = new Float64Array(outer * kept * inner * 2);
  const line = new Float64Array(2 * length);
  for (let o = 0; o < outer; o++)
    for (let i = 0; i < inner; i++) {
      line.fill(0);
      for (let at = 0; at < Math.min(extent, length); at++)
        for (let part = 0; part < parts; part++)
          line[2 * at + part] = numbers[((o * extent + at) * inner + i) * parts + part]!;
      const spectrum = transform(line, isInverse ? 1 : -1);
      for (let at = 0; at < kept; at++)
        for (let part = 0; part < 2; part++)
          out[((o * kept + at) * inner + i) * 2 + part] = spectrum[2 * at + part]! / (isInverse ? length : 1);
    }
  const shape = [...x.shape.slice(0, axis), kept, ...x.shape.slice(axis + 1, -1), 2];
  return context.made(x.type, shape, out, [x]);
}

function stft(context: Context, x: Value, stepInput: Value, windowInput?: Value, lengthInput?: Value): Value {
  const [batch, length, parts = 1] = x.shape as [number, number, number];
  const [step] = context.ints(stepInput) as [number];
  const weights = windowInput && context.numbers(windowInput);
  const frame = lengthInput ? context.ints(lengthInput)[0]! : (weights?.length ?? length);
  if (step < 1 || frame < 1 || frame > length) throw context.refuse(`frames of ${frame}, ${step} apart`);
  const frames = Math.floor((length - frame) / step) + 1;
  const kept = bins(frame, context.int('onesided', 1) === 1);
  const numbers = context.numbers(x);
  const out = new Float64Array(batch * frames * kept * 2);
  const line = new Float64Array(2 * frame);
  for (let b = 0; b < batch; b++)
    for (let f = 0; f < frames; f++) {
      for (let at = 0; at < frame; at++)
        for (let part = 0; part < parts; part++)
          line[2 * at + part] =
            numbers[(b * length + f * step + at) * parts + part]! * (weights ? weights[at]! : 1);
      out.set(transform(line, -1).subarray(0, 2 * kept), (b * frames + f) * kept * 2);
    }
  return context.made(x.type, [batch, frames, kept, 2], out, [x]);
}

/** Triangles that overlap by halves, evenly spaced in mels: m = 2595 log10(1 + f / 700). */
function melWeights(context: Context, ...inputs: Value[]): Value {
  const [count, length, rate, low, high] = inputs.map((value) => context.numbers(value)[0]!) as [
    number,
    number,
    number,
    number,
    number,
  ];
  const type = typeOfCode(context.int('output_datatype', 1));
  if (!type) throw context.refuse('weights of no number');
  const mel = (hertz: number) => 2595 * Math.log10(1 + hertz / 700);
  const step = (mel(high) - mel(low)) / (count + 2);
  const binOf = (i: number) =>
    Math.floor(((length + 1) * 700 * (10 ** ((i * step + mel(low)) / 2595) - 1)) / rate);
  const rows = Math.floor(length / 2) + 1;
  const out = new Float64Array(rows * count);
  for (let i = 0; i < count; i++) {
    const [left, centre, right] = [binOf(i), binOf(i + 1), binOf(i + 2)];
    out[centre * count + i] = 1;
    for (let j = left; j < centre; j++) out[j * count + i] = (j - left) / (centre - left);
    for (let j = centre + 1; j < right; j++) out[j * count + i] = (right - j) / (right - centre);
  }
  return context.made(type, [rows, count], out, inputs);
}

export const SIGNAL: Operators = {
  HannWindow: window(0.5, 0.5),
  HammingWindow: window(25 / 46, 21 / 46),
  BlackmanWindow: window(0.42, 0.5, 0.08),
  DFT: operator(17, 1, dft),
  STFT: operator(17, 2, stft),
  MelWeightMatrix: operator(17, 5, melWeights),
};
