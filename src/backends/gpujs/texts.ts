/**
 * Products, convolutions and pooling as gpu.js takes them: a function for one element of the result, which gathers what it needs. Nothing is
 * shared between elements, so they are slow beside shaders with tiles; they are for browsers that have WebGL2 and no WebGPU.
 *
 * All numbers of a problem travel in one array, `s`: one kernel serves all sizes. What the text depends on is in its key.
 */
import type { ConvProblem } from '../../problem/conv.ts';
import { groupChannels } from '../../problem/conv.ts';
import type { ActivationKind } from '../../problem/epilogue.ts';
import type { MatmulProblem } from '../../problem/matmul.ts';
import type { PoolProblem } from '../../problem/pool.ts';
import type { Problem } from '../../problem/problem.ts';

export type GatherProblem = MatmulProblem | ConvProblem | PoolProblem;

export interface Gather {
  /** Equal keys have equal sources. */
  readonly key: string;
  source(): string;
  readonly numbers: readonly number[];
  /** Functions that the source calls, and constants that they read. */
  readonly functions?: readonly string[];
  readonly constants?: Readonly<Record<string, number>>;
  /** Of the result, the fastest first. */
  readonly extents: readonly [x: number, y: number, z: number];
}

/** Scalars of a call. */
export interface GatherScalars {
  readonly alpha: number;
  readonly p0: number;
  readonly p1: number;
}

/** Over `v`; gpu.js knows the functions of Math. */
const ACTIVATIONS: Readonly<Partial<Record<ActivationKind, string>>> = {
  none: 'v',
  relu: 'Math.max(v, 0)',
  clip: 'Math.min(Math.max(v, p0), p1)',
  leakyRelu: 'v < 0 ? v * p0 : v',
  sigmoid: '1 / (1 + Math.exp(-v))',
  silu: 'v / (1 + Math.exp(-v))',
  tanh: '1 - 2 / (1 + Math.exp(2 * Math.min(v, 40)))',
  hardSigmoid: 'Math.max(0, Math.min(1, v * p0 + p1))',
  hardSwish: 'v * Math.max(0, Math.min(1, v / 6 + 0.5))',
  affineHardSwish: 'v * Math.max(0, Math.min(1, v / 6 + 0.5)) * p0 + p1',
};

/** Whether there is a text for a problem. What reads another tensor after the sum, and gelu's error function, are not there. */
export function gathers(p: Problem): p is GatherProblem {
  if (p.op === 'pool') return !p.exact;
  if (p.op !== 'matmul' && p.op !== 'conv') return false;
  if (p.exact || ACTIVATIONS[p.activation] === undefined) return false;
  return p.op === 'matmul' ? !p.accumulate && !p.panel && !p.leading : !p.residual;
}

/** WebGL knows no infinity. */
function bounded(value: number): number {
  return Math.min(Math.max(value, -3.4028234663852886e38), 3.4028234663852886e38);
}

/** Names for the numbers, in their order. */
function named(names: readonly string[]): string {
  return names.map((name, i) => `let ${name} = s[${i}];`).join(' ');
}

function finish(kind: ActivationKind, bias: string): string {
  return `let v = alpha * sum + bias[${bias}];
  return ${ACTIVATIONS[kind]};`;
}

const SCALARS = ['alpha', 'p0', 'p1'] as const;

function scalarsOf({ alpha, p0, p1 }: GatherScalars): number[] {
  return [alpha, bounded(p0), bounded(p1)];
}

function matmulText(p: MatmulProblem, scalars: GatherScalars): Gather {
  const { m, n, k, transposeA, transposeB, batch } = p;
  const names = [...SCALARS, 'k', 'rowA', 'stepA', 'columnB', 'stepB', 'nextA', 'nextB', 'biasX', 'biasY'];
  return {
    key: `matmul ${p.activation}`,
    source: () => `function (a, b, bias, s) {
  ${named(names)}
  let atA = this.thread.z * nextA + this.thread.y * rowA;
  let atB = this.thread.z * nextB + this.thread.x * columnB;
  let sum = 0;
  for (let i = 0; i < k; i++) { sum += a[atA + i * stepA] * b[atB + i * stepB]; }
  ${finish(p.activation, 'this.thread.x * biasX + this.thread.y * biasY')}
}`,
    numbers: [
      ...scalarsOf(scalars),
      k,
      ...(transposeA ? [1, m] : [k, 1]),
      ...(transposeB ? [k, 1] : [1, n]),
      batch === 1 || p.sharedA ? 0 : m * k,
      batch === 1 || p.sharedB ? 0 : k * n,
      p.bias === 'row' ? 1 : 0,
      p.bias === 'column' ? 1 : 0,
    ],
    extents: [n, m, batch],
  };
}

/** Extents and strides of the images that a window slides over. */
const WINDOW = [
  ...['inH', 'inW', 'kH', 'kW', 'strideH', 'strideW', 'dilationH', 'dilationW', 'padTop', 'padLeft'],
  ...['nextImage', 'nextChannel', 'nextRow', 'nextColumn'],
] as const;

function windowNumbers(p: ConvProblem | PoolProblem, channels: number): number[] {
  const pixels = p.inH * p.inW;
  const strides = p.layout === 'nchw' ? [pixels, p.inW, 1] : [1, p.inW * channels, channels];
  return [
    ...[p.inH, p.inW, p.kH, p.kW, p.strideH, p.strideW, p.dilationH, p.dilationW, p.padTop, p.padLeft],
    ...[channels * pixels, ...strides],
  ];
}

/** Which element a thread computes: the layout's fastest axis is the thread's. */
function place(layout: 'nchw' | 'nhwc'): string {
  const [of, z] = layout === 'nchw' ? ['channels', 'channel'] : ['outH', 'oy'];
  const rest =
    layout === 'nchw'
      ? 'let oy = this.thread.y; let ox = this.thread.x;'
      : 'let channel = this.thread.x; let ox = this.thread.y;';
  // half a step keeps the quotient of floats from falling below a whole number
  return `let image = Math.floor((this.thread.z + 0.5) / ${of}); let ${z} = this.thread.z - image * ${of}; ${rest}`;
}

function imageExtents(p: ConvProblem | PoolProblem, channels: number): readonly [number, number, number] {
  return p.layout === 'nchw' ? [p.outW, p.outH, p.batch * channels] : [channels, p.outW, p.batch * p.outH];
}

function convText(p: ConvProblem, scalars: GatherScalars): Gather {
  const names = [...SCALARS, ...WINDOW, 'channels', 'outH', 'depth', 'perGroup', 'biasStep'];
  return {
    key: `conv ${p.layout} ${p.activation}`,
    source: () => `function (x, w, bias, s) {
  ${named(names)}
  ${place(p.layout)}
  let atX = image * nextImage + Math.floor((channel + 0.5) / perGroup) * depth * nextChannel;
  let atW = channel * depth * kH * kW;
  let sum = 0;
  for (let c = 0; c < depth; c++) {
    for (let kh = 0; kh < kH; kh++) {
      let row = oy * strideH - padTop + kh * dilationH;
      if (row >= 0 && row < inH) {
        for (let kw = 0; kw < kW; kw++) {
          let column = ox * strideW - padLeft + kw * dilationW;
          if (column >= 0 && column < inW) {
            sum += x[atX + c * nextChannel + row * nextRow + column * nextColumn] * w[atW + (c * kH + kh) * kW + kw];
          }
        }
      }
    }
  }
  ${finish(p.activation, 'channel * biasStep')}
}`,
    numbers: [
      ...scalarsOf(scalars),
      ...windowNumbers(p, p.inC),
      ...[p.outC, p.outH, groupChannels(p), p.outC / p.groups, p.bias ? 1 : 0],
    ],
    extents: imageExtents(p, p.outC),
  };
}

function poolText(p: PoolProblem): Gather {
  const names = [...WINDOW, 'channels', 'outH', 'endH', 'endW', 'counted'];
  const isMax = p.kind === 'max';
  const take = isMax ? 'most = Math.max(most, value);' : 'sum += value; count += 1;';
  return {
    key: `pool ${p.kind} ${p.layout}`,
    source: () => `function (x, s) {
  ${named(names)}
  ${place(p.layout)}
  let atX = image * nextImage + channel * nextChannel;
  ${isMax ? 'let most = -3.4028234663852886e38;' : 'let sum = 0; let count = 0;'}
  for (let kh = 0; kh < kH; kh++) {
    let row = oy * strideH - padTop + kh * dilationH;
    for (let kw = 0; kw < kW; kw++) {
      let column = ox * strideW - padLeft + kw * dilationW;
      if (row >= 0 && row < inH && column >= 0 && column < inW) {
        let value = x[atX + row * nextRow + column * nextColumn];
        ${take}
      }${isMax ? '' : ' else { if (row < endH && column < endW) { count += counted; } }'}
    }
  }
  return ${isMax ? 'most' : 'sum / count'};
}`,
    numbers: [
      ...windowNumbers(p, p.channels),
      ...[p.channels, p.outH, p.inH + p.padBottom, p.inW + p.padRight, p.countPadding ? 1 : 0],
    ],
    extents: imageExtents(p, p.channels),
  };
}

export function gatherOf(p: GatherProblem, scalars: GatherScalars): Gather {
  if (p.op === 'matmul') return matmulText(p, scalars);
  return p.op === 'conv' ? convText(p, scalars) : poolText(p);
}
