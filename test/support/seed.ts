/**
 * The one place where tests get their seed: `--seed N` on the command line, else TESSERAE_TEST_SEED, else a fixed number,
 * so that a plain run is the same everywhere. Titles carry it; a failure is repeated by passing it again.
 */
import { randomFrom } from '../../src/core/random.ts';

const DEFAULT_SEED = 20260731;

function readSeed(): number {
  const flag = process.argv.indexOf('--seed');
  const text = flag >= 0 ? process.argv[flag + 1] : process.env.TESSERAE_TEST_SEED;
  if (text === undefined || text === '') return DEFAULT_SEED;
  const seed = Number(text);
  if (!Number.isSafeInteger(seed)) throw new Error(`the seed ${text} is no whole number`);
  return seed;
}

export const SEED = readSeed();

/** A test's title with the seed that repeats it. */
export function seeded(title: string): string {
  return `${title} [seed ${SEED}]`;
}

/** A stream of random choices. `salt` keeps the streams of different tests apart. */
export class Random {
  readonly next: () => number;

  constructor(salt: number, seed = SEED) {
    this.next = randomFrom((Math.imul(seed, 0x9e3779b1) + Math.imul(salt, 0x85ebca6b)) >>> 0);
  }

  /** A whole number from `low` to `high`, both included. */
  int(low: number, high: number): number {
    return low + Math.floor(this.next() * (high - low + 1));
  }

  pick<T>(list: readonly T[]): T {
    if (list.length === 0) throw new Error('nothing to pick from');
    return list[this.int(0, list.length - 1)]!;
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  /** Numbers in [-scale, scale). */
  floats(count: number, scale = 1): Float32Array {
    const array = new Float32Array(count);
    for (let i = 0; i < count; i++) array[i] = (this.next() * 2 - 1) * scale;
    return array;
  }
}
