/** What the text forms of all shapes share: how an error is told, and the word for an activation. */
import type { ShapeActivation } from './types.ts';

/** What a shape text or file got wrong; `line` counts from 1 where there are lines. */
export class ShapeSyntaxError extends Error {
  readonly line: number | undefined;

  constructor(message: string, line?: number) {
    super(line === undefined ? message : `line ${line}: ${message}`);
    this.name = 'ShapeSyntaxError';
    this.line = line;
  }
}

const PLAIN = ['relu', 'gelu', 'silu', 'tanh', 'sigmoid', 'hardSwish', 'hardSigmoid'] as const;

/** What may stand for an activation, as messages list it. */
export const ACTIVATION_WORDS: readonly string[] = [...PLAIN, 'clip=min:max', 'leakyRelu=slope'];

/** 2^30 elements are 4 GiB, all that a WebAssembly memory holds: a larger operand is a slip of the pen. */
export const MAX_ELEMENTS = 2 ** 30;

/** `relu`, `clip=0:6` or `leakyRelu=0.1`, in any case; undefined if the word is no activation. */
export function parseActivation(word: string): ShapeActivation | undefined {
  const lower = word.toLowerCase();
  const plain = PLAIN.find((name) => name.toLowerCase() === lower);
  if (plain !== undefined) return plain;
  const leaky = /^leakyrelu=([^:]+)$/.exec(lower);
  if (leaky) {
    const slope = Number(leaky[1]);
    if (!Number.isFinite(slope)) throw new ShapeSyntaxError(`"${word}": leakyRelu needs a number`);
    return { kind: 'leakyRelu', slope };
  }
  const clip = /^clip=([^:]+):([^:]+)$/.exec(lower);
  if (!clip) return undefined;
  const [min, max] = [Number(clip[1]), Number(clip[2])];
  if (!(min <= max)) throw new ShapeSyntaxError(`"${word}": clip needs two numbers, the smaller one first`);
  return { kind: 'clip', min, max };
}

/** The word that parses back to the activation; undefined for none. */
export function printActivation(activation: ShapeActivation | undefined): string | undefined {
  if (activation === undefined || activation === 'none') return undefined;
  if (typeof activation === 'string') return activation;
  return activation.kind === 'clip'
    ? `clip=${activation.min}:${activation.max}`
    : `leakyRelu=${activation.slope}`;
}

export function checkExtent(name: string, extent: number, least = 1): void {
  if (Number.isSafeInteger(extent) && extent >= least) return;
  throw new ShapeSyntaxError(`${name} must be a whole number from ${least} up, got ${String(extent)}`);
}
