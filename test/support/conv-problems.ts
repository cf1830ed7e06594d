/**
 * Calls on images as a user may write them, treated as badly as they can be: results are NaN beforehand, tensors beside them must
 * stay as they were, and so must the operands.
 */
import type { ConvOptions, PrepackedConv, Runtime, Tensor, TensorLike } from '../../src/ops/types.ts';
import { CONV_ALGORITHMS, type ConvAlgorithm } from '../../src/problem/conv.ts';
import type { Activation } from '../../src/problem/epilogue.ts';
import { type AskedConv, bothOf, convOracle } from './conv-oracle.ts';
import { type Answer, answerFault, array, sizeOf } from './oracle.ts';
import type { Random } from './seed.ts';

type Array4 = ReturnType<typeof array>;

const GUARD = 1234.5;

/** A question in words: shapes in place of operands. */
export function describe(asked: object): string {
  return JSON.stringify(asked, (_, value: unknown) =>
    typeof value === 'object' && value !== null && 'data' in value && 'shape' in value ? value.shape : value,
  );
}

/** Whether an algorithm can do what is asked, as its description says. */
export function canDo(algorithm: ConvAlgorithm, asked: AskedConv, exact = false): boolean {
  const nhwc = asked.layout === 'nhwc';
  const [outC, , kH, kW] = asked.w.shape as readonly [number, number, number, number];
  const inC = asked.x.shape[nhwc ? 3 : 1];
  const [strides, dilations] = [bothOf(asked.stride), bothOf(asked.dilation)];
  const dense = strides.every((step) => step === 1);
  const padding = asked.padding ?? 0;
  const padded =
    typeof padding === 'number'
      ? padding > 0
      : typeof padding !== 'string' && padding.some((side) => side > 0);
  switch (algorithm) {
    case 'gemm':
      return kH === 1 && kW === 1 && dense && !padded;
    case 'implicit':
      return !nhwc;
    case 'direct':
      return true;
    case 'depthwise':
      return inC === (asked.groups ?? 1) && (!nhwc || outC === inC);
    case 'winograd2':
    case 'winograd4':
      return (
        !nhwc &&
        !exact &&
        (kH === 3 || kH === 5) &&
        kW === kH &&
        dense &&
        dilations.every((step) => step === 1)
      );
    case 'strassen': {
      const { groups = 1 } = asked;
      const isEven = (outC / groups) % 2 === 0 && (inC! / groups) % 2 === 0;
      return !nhwc && !exact && isEven && canDo('gemm', asked);
    }
    default:
      throw new Error(`unknown algorithm ${algorithm satisfies never}`);
  }
}

export function algorithmsOf(asked: AskedConv, exact = false): ConvAlgorithm[] {
  return CONV_ALGORITHMS.filter((algorithm) => canDo(algorithm, asked, exact));
}

/** The answer as each algorithm may give it, made once. One that is not named may be Winograd's or Strassen's, whose bounds are the widest. */
export function answersTo(asked: AskedConv): (algorithm: ConvAlgorithm | undefined) => Answer {
  const { algorithm: _algorithm, ...open } = asked;
  const made = new Map<string, Answer>();
  const widest = (['winograd4', 'strassen', 'direct'] as const).find((algorithm) => canDo(algorithm, asked))!;
  return (algorithm = widest) => {
    const form = algorithm.startsWith('winograd') || algorithm === 'strassen' ? algorithm : 'direct';
    const known = made.get(form);
    if (known) return known;
    const answer = convOracle({ ...open, algorithm });
    made.set(form, answer);
    return answer;
  };
}

/** What is done to numbers in [-1, 1): same signs let roundings add up, outliers swamp what stands beside them. */
const KINDS: Readonly<Record<string, (value: number, at: number) => number>> = {
  uniform: (value) => value,
  positive: (value) => Math.abs(value),
  sparse: (value, at) => (at % 7 === 3 ? value : 0),
  outliers: (value, at) => (at % 5 === 0 ? value : value * 2 ** -10),
};

/** The same question about numbers of a kind. */
function ofKind(asked: AskedConv, kind: string): AskedConv {
  const w = kind === 'positive' ? { ...asked.w, data: asked.w.data.map(Math.abs) } : asked.w;
  return { ...asked, w, x: { ...asked.x, data: asked.x.data.map(KINDS[kind]!) } };
}

/** The largest error of an answer, in parts of its bound. */
function partOfBound(rt: Runtime, asked: AskedConv): number {
  const { x, w, ...options } = asked;
  const { values, bounds } = convOracle(asked);
  using got = rt.conv2dSync(x, w, options);
  let worst = 0;
  values.forEach((want, at) => {
    const part = Math.abs(got.data[at]! - want) / bounds[at]!;
    if (!(part <= worst)) worst = part;
  });
  return worst;
}

/** The largest such part for numbers of each kind and for each of some numbers of channels. */
export function partsByKind(
  rt: Runtime,
  channels: readonly number[],
  ask: (inC: number) => AskedConv,
): { readonly name: string; readonly part: number }[] {
  return Object.keys(KINDS).flatMap((kind) =>
    channels.map((inC) => {
      const parts = Array.from({ length: inC < 64 ? 12 : 2 }, () => partOfBound(rt, ofKind(ask(inC), kind)));
      return { name: `${kind}, ${inC} channels`, part: Math.max(...parts) };
    }),
  );
}

/** A result of NaN between two tensors of the same shape, which nobody may touch. */
export class GuardedOut {
  readonly tensor: Tensor;
  readonly #guards: readonly Tensor[];

  constructor(rt: Runtime, shape: readonly number[]) {
    const before = rt.zeros(shape);
    this.tensor = rt.zeros(shape);
    this.#guards = [before, rt.zeros(shape)];
    this.tensor.data.fill(Number.NaN);
    for (const guard of this.#guards) guard.data.fill(GUARD);
  }

  fault(): string | undefined {
    const touched = this.#guards.some((guard) => guard.data.some((value) => value !== GUARD));
    return touched ? 'a tensor beside the result was changed' : undefined;
  }

  dispose(): void {
    for (const tensor of [this.tensor, ...this.#guards]) tensor.dispose();
  }
}

/** Operands as tensors or as plain arrays, whichever comes; with copies to compare with afterwards. */
class Given {
  readonly #rt: Runtime;
  readonly #random: Random;
  readonly #held: Tensor[] = [];
  readonly #watched: { readonly name: string; readonly now: TensorLike; readonly before: Float32Array }[] =
    [];

  constructor(rt: Runtime, random: Random) {
    this.#rt = rt;
    this.#random = random;
  }

  give(name: string, value: Array4): TensorLike {
    const plain = this.#random.chance(0.3);
    const now = plain ? value : this.#rt.tensor(value.data, value.shape);
    if (!plain) this.#held.push(now as Tensor);
    this.#watched.push({ name, now, before: value.data.slice() });
    return now;
  }

  fault(): string | undefined {
    const changed = this.#watched.find(({ now, before }) =>
      now.data.some((value, at) => !Object.is(value, before[at])),
    );
    return changed && `${changed.name} was changed`;
  }

  dispose(): void {
    for (const tensor of this.#held) tensor.dispose();
  }
}

/** A call's options, its tensors given one way or the other. */
function optionsOf(asked: AskedConv, given: Given): ConvOptions {
  const { x: _x, w: _w, bias, residual, activation, ...plain } = asked;
  const slope =
    typeof activation === 'object' && activation.kind === 'prelu' && given.give('slope', activation.slope);
  return {
    ...plain,
    ...(bias ? { bias: given.give('bias', bias) } : {}),
    ...(residual ? { residual: given.give('residual', residual) } : {}),
    ...(activation ? { activation: slope ? { kind: 'prelu', slope } : activation } : {}),
  };
}

export interface Manner {
  readonly sync?: boolean;
  /** Write into a tensor of the caller's. */
  readonly into?: boolean;
  /** The weights as the runtime keeps them, in place of those asked. */
  readonly weights?: PrepackedConv;
  /** Judge by this in place of the oracle. */
  readonly answer?: Answer;
}

/** Why a call does not give what was asked, in words; undefined if it does. */
export async function convFault(
  rt: Runtime,
  random: Random,
  asked: AskedConv,
  manner: Manner = {},
): Promise<string | undefined> {
  const { sync = true, into = true, answer = convOracle(asked) } = manner;
  const given = new Given(rt, random);
  const guarded = into ? new GuardedOut(rt, answer.shape) : undefined;
  let got: Tensor | undefined;
  try {
    const options = { ...optionsOf(asked, given), ...(guarded ? { out: guarded.tensor } : {}) };
    const [x, w] = [given.give('x', asked.x), manner.weights ?? given.give('w', asked.w)];
    got = sync ? rt.conv2dSync(x, w, options) : await rt.conv2d(x, w, options);
    const stranger = guarded && got !== guarded.tensor ? 'the result is not out' : undefined;
    const fault = answerFault(answer, got) ?? given.fault() ?? guarded?.fault() ?? stranger;
    return fault && `${fault}: ${describe(asked)}`;
  } catch (error) {
    return `${String(error)}: ${describe(asked)}`;
  } finally {
    got?.dispose();
    guarded?.dispose();
    given.dispose();
  }
}

export const ACTIVATIONS: readonly Activation<Array4>[] = [
  'relu',
  'gelu',
  'silu',
  'tanh',
  'sigmoid',
  'hardSwish',
  'hardSigmoid',
  { kind: 'hardSigmoid', alpha: 0.5, beta: 0.25 },
  { kind: 'hardSwish', scale: -0.75, shift: 0.5 },
  { kind: 'clip', min: -0.25, max: 0.5 },
  { kind: 'leakyRelu', slope: 0.125 },
  { kind: 'leakyRelu' },
];

/** Random operands for extents: channels in and out are whole numbers of groups. */
export interface ConvExtents {
  readonly batch?: number;
  readonly inC: number;
  readonly outC: number;
  readonly image: readonly [number, number];
  readonly filter: readonly [number, number];
}

export function askConv(
  random: Random,
  { batch = 1, inC, outC, image: [h, w], filter: [kH, kW] }: ConvExtents,
  options: Omit<AskedConv, 'x' | 'w'> = {},
): AskedConv {
  const shape = options.layout === 'nhwc' ? [batch, h, w, inC] : [batch, inC, h, w];
  return {
    x: array(random, shape),
    w: array(random, [outC, inC / (options.groups ?? 1), kH, kW]),
    ...options,
  };
}

/** Adds random bias, slopes, residual and activation to a question. */
export function withEpilogue(random: Random, asked: AskedConv): AskedConv {
  const outC = asked.w.shape[0]!;
  const { shape } = convOracle(asked);
  const prelu = { kind: 'prelu', slope: array(random, random.chance(0.5) ? [outC] : [1]) } as const;
  return {
    ...asked,
    ...(random.chance(0.6) ? { bias: array(random, [outC]) } : {}),
    ...(random.chance(0.4) ? { residual: array(random, shape) } : {}),
    ...(random.chance(0.7) ? { activation: random.pick([...ACTIVATIONS, prelu]) } : {}),
  };
}

const SIZES = [1, 2, 3, 4, 5, 7, 8, 9, 11, 13, 16, 17, 19, 23, 29];
/** Multiply-adds: the oracle is slow on purpose. */
const MOST_WORK = 120_000;

function randomChannels(random: Random): { groups: number; inC: number; outC: number } {
  const groups = random.chance(0.5) ? 1 : random.pick([2, 3, 5, 8]);
  if (groups > 1 && random.chance(0.5)) return { groups, inC: groups, outC: groups * random.int(1, 2) };
  return { groups, inC: groups * random.int(1, 7), outC: groups * random.int(1, 9) };
}

function randomPadding(random: Random): NonNullable<AskedConv['padding']> {
  const side = () => random.int(0, 3);
  return random.pick([
    () => 'same' as const,
    () => 'same-lower' as const,
    () => 'valid' as const,
    side,
    () => [side(), side()] as const,
    () => [side(), side(), side(), side()] as const,
  ])();
}

/** Any convolution that fits its image and is small enough for the oracle. */
export function randomConv(random: Random): AskedConv {
  for (;;) {
    const { groups, inC, outC } = randomChannels(random);
    const filter = random.chance(0.4)
      ? ([3, 3] as const)
      : ([random.pick([1, 2, 3, 5, 7]), random.pick([1, 2, 3, 4])] as const);
    const pair = (most: number) =>
      random.chance(0.5)
        ? 1
        : random.chance(0.5)
          ? random.int(1, most)
          : ([random.int(1, most), random.int(1, most)] as const);
    const options = { stride: pair(3), dilation: pair(3), padding: randomPadding(random), groups };
    const layout = random.pick(['nchw', 'nhwc'] as const);
    const image = [random.pick(SIZES), random.pick(SIZES)] as const;
    const extents = { batch: random.pick([1, 1, 2, 3]), inC, outC, image, filter };
    const asked = askConv(random, extents, { ...options, layout });
    const { shape } = convOracle({ ...asked, w: { data: new Float32Array(0), shape: asked.w.shape } });
    const work = (sizeOf(shape) * inC * filter[0] * filter[1]) / groups;
    if (work > 0 && work <= MOST_WORK) return asked;
  }
}
