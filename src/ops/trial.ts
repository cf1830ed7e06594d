/** A problem set up to be tuned: random operands in memory, and a check of random elements of the answer. */

import type { WasmBackend } from '../backends/wasm/backend.ts';
import { roundUp } from '../core/math.ts';
import { fillRandom, randomFrom } from '../core/random.ts';
import { sizeOf } from '../core/shape.ts';
import type { Plan } from '../plan/plan.ts';
import { type ConvProblem, groupChannels, multipliesLess, termsOf } from '../problem/conv.ts';
import type { MatmulProblem } from '../problem/matmul.ts';
import { isArrayProblem, type Problem, resultElements } from '../problem/problem.ts';
import type { Operands } from '../schedule/operands.ts';
import { ConvWeights, type FormMaker } from './conv-weights.ts';
import { integerTrial } from './quantized/trial.ts';

/** Elements of a result that are checked against float64, at random places. */
const SPOT_CHECKS = 24;
/** How far a result may be off, in units of eps times the terms' magnitudes: sums of pixels and filters round more. */
const SLACK = { plain: 1, fewer: 16 } as const;

/** What of a runtime a trial needs. */
export interface Trier extends FormMaker {
  readonly backend: WasmBackend;
}

export interface Trial {
  /** Operands for a plan: some read weights in a form of their own. */
  operands(plan: Plan): Operands;
  readonly result: () => Float32Array;
  /** The values that are multiplied, as they were given: those of the kernels' left side first. */
  readonly sides: readonly [Float32Array, Float32Array];
  /** Why the latest answer of a plan is wrong, or undefined. Epilogues are checked by the self-check and the tests. */
  check(plan: Plan): string | undefined;
  release(): void;
}

type Take = (count: number, seed: number) => number;

/** Address and count. */
type Side = readonly [at: number, elements: number];

interface Parts {
  operands(plan: Plan): Operands;
  readonly sides: readonly [Side, Side];
  check(plan: Plan): string | undefined;
  readonly c: number;
}

function matmulTrial(core: Trier, p: MatmulProblem, take: Take): Parts {
  const matricesA = p.leading ? sizeOf(p.leading.a) : p.sharedA ? 1 : p.batch;
  const matricesB = p.leading ? sizeOf(p.leading.b) : p.sharedB ? 1 : p.batch;
  const columns = p.panel ? roundUp(p.n, p.panel.nr) : p.n;
  const countA = matricesA * p.m * p.k;
  const a = take(countA, 1);
  // a prepacked B is random panels: their time does not depend on their values
  const countB = matricesB * columns * p.k;
  const b = take(countB, 2);
  const c = take(resultElements(p), 3);
  const bias = take(Math.max(p.m, p.n), 4);
  const operands = {
    ...{ a, b, c, bias, slope: bias, p0: -1, p1: 1 },
    alpha: p.scaled ? 0.5 : 1,
    beta: p.accumulate ? 0.5 : 0,
    packedB: p.panel ? b : undefined,
  };
  const plain = !p.panel && p.bias === 'none' && p.activation === 'none' && !p.scaled && !p.accumulate;
  return {
    c,
    sides: [
      [a, countA],
      [b, countB],
    ],
    operands: () => operands,
    check: () => (plain ? checkProduct(core, p, a, b, c) : undefined),
  };
}

function checkProduct(core: Trier, p: MatmulProblem, a: number, b: number, c: number): string | undefined {
  const floats = core.backend.floats();
  const [A, B, C] = [a >>> 2, b >>> 2, c >>> 2];
  const next = randomFrom(11);
  const pick = (count: number) => Math.floor(next() * count);
  for (let check = 0; check < SPOT_CHECKS; check++) {
    const [i, j] = [pick(p.m), pick(p.n)];
    let sum = 0;
    let size = 0;
    for (let x = 0; x < p.k; x++) {
      const left = floats[A + (p.transposeA ? x * p.m + i : i * p.k + x)]!;
      const term = left * floats[B + (p.transposeB ? j * p.k + x : x * p.n + j)]!;
      sum += term;
      size += Math.abs(term);
    }
    const got = floats[C + i * p.n + j]!;
    if (!(Math.abs(got - sum) <= 2 ** -23 * (p.k + 2) * size))
      return `element [${i}, ${j}] is ${got}, not ${sum}`;
  }
  return undefined;
}

function convTrial(core: Trier, p: ConvProblem, take: Take, keep: (own: { dispose(): void }) => void): Parts {
  const image = p.batch * p.inC * p.inH * p.inW;
  const x = take(image, 1);
  const count = p.outC * termsOf(p);
  const raw = take(count, 2);
  const c = take(resultElements(p), 3);
  const bias = take(p.outC, 4);
  const c0 = p.residual ? take(resultElements(p), 5) : 0;
  const weights = p.prepacked
    ? new ConvWeights(core.heap, [p.outC, groupChannels(p), p.kH, p.kW], undefined)
    : undefined;
  if (weights) {
    keep(weights);
    core.heap.floats().copyWithin(weights.place() >>> 2, raw >>> 2, (raw >>> 2) + count);
    weights.done();
  }
  const scalars = { c, bias, slope: bias, c0, alpha: 1, beta: 1, p0: -1, p1: 1 };
  const plain = !p.bias && p.activation === 'none' && !p.residual;
  const sides: readonly [Side, Side] = [
    [x, image],
    [raw, count],
  ];
  return {
    c,
    sides: p.layout === 'nhwc' ? sides : [sides[1], sides[0]],
    operands: (plan) => {
      const form = weights?.formFor(core, p, plan);
      return p.layout === 'nchw'
        ? { a: raw, b: x, packedA: form, ...scalars }
        : { a: x, b: raw, packedB: form, ...scalars };
    },
    check: (plan) => (plain ? checkConv(core, p, plan, x, raw, c) : undefined),
  };
}

/** Element index of a pixel in a batch of images. */
function pixelAt(
  p: ConvProblem,
  channels: number,
  height: number,
  width: number,
  n: number,
  c: number,
  y: number,
  x: number,
): number {
  return p.layout === 'nchw'
    ? ((n * channels + c) * height + y) * width + x
    : ((n * height + y) * width + x) * channels + c;
}

function checkConv(
  core: Trier,
  p: ConvProblem,
  plan: Plan,
  x: number,
  w: number,
  c: number,
): string | undefined {
  const floats = core.backend.floats();
  const next = randomFrom(11);
  const pick = (count: number) => Math.floor(next() * count);
  const slack = multipliesLess(plan.algorithm) ? SLACK.fewer : SLACK.plain;
  for (let check = 0; check < SPOT_CHECKS; check++) {
    const at = { n: pick(p.batch), oc: pick(p.outC), y: pick(p.outH), x: pick(p.outW) };
    const { sum, size } = termsAt(p, floats, x >>> 2, w >>> 2, at);
    const got = floats[(c >>> 2) + pixelAt(p, p.outC, p.outH, p.outW, at.n, at.oc, at.y, at.x)]!;
    if (!(Math.abs(got - sum) <= slack * 2 ** -23 * (termsOf(p) + 2) * size))
      return `element [${at.n}, ${at.oc}, ${at.y}, ${at.x}] is ${got}, not ${sum}`;
  }
  return undefined;
}

function termsAt(
  p: ConvProblem,
  floats: Float32Array,
  x: number,
  w: number,
  at: { n: number; oc: number; y: number; x: number },
): { sum: number; size: number } {
  const channels = groupChannels(p);
  const first = Math.floor(at.oc / (p.outC / p.groups)) * channels;
  let sum = 0;
  let size = 0;
  for (let c = 0; c < channels; c++) {
    for (let kh = 0; kh < p.kH; kh++) {
      const row = at.y * p.strideH + kh * p.dilationH - p.padTop;
      if (row < 0 || row >= p.inH) continue;
      for (let kw = 0; kw < p.kW; kw++) {
        const column = at.x * p.strideW + kw * p.dilationW - p.padLeft;
        if (column < 0 || column >= p.inW) continue;
        const tap = ((at.oc * channels + c) * p.kH + kh) * p.kW + kw;
        const pixel = pixelAt(p, p.inC, p.inH, p.inW, at.n, first + c, row, column);
        const term = floats[x + pixel]! * floats[w + tap]!;
        sum += term;
        size += Math.abs(term);
      }
    }
  }
  return { sum, size };
}

/** Random operands of a problem in memory, until `release`. */
export function makeTrial(core: Trier, p: Problem): Trial {
  const held: number[] = [];
  const kept: { dispose(): void }[] = [];
  const take: Take = (count, seed) => {
    const address = core.backend.allocate(4 * count, 'scratch');
    held.push(address);
    fillRandom(core.backend.view(address, count), seed);
    return address;
  };
  const release = () => {
    for (const own of kept.splice(0)) own.dispose();
    for (const address of held.splice(0)) core.backend.free(address);
  };
  try {
    if (p.op === 'pool' || p.op === 'fold' || isArrayProblem(p)) throw new Error(`a ${p.op} is not tuned`);
    const keep = (own: { dispose(): void }) => kept.push(own);
    const parts =
      p.op === 'matmul'
        ? matmulTrial(core, p, take)
        : p.op === 'conv'
          ? convTrial(core, p, take, keep)
          : integerTrial(core, p, take, keep);
    const result = () => core.backend.view(parts.c, resultElements(p));
    return {
      operands: parts.operands,
      check: parts.check,
      result,
      get sides() {
        if (!('sides' in parts)) throw new Error(`a ${p.op} has no sides`);
        const [a, b] = parts.sides;
        return [core.backend.view(...a), core.backend.view(...b)] as const;
      },
      release,
    };
  } catch (error) {
    release();
    throw error;
  }
}
