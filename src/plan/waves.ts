/**
 * Calls that do not need one another, side by side: a recorded run goes wave by wave, and threads that have nothing left to do in one call
 * take steps of the next one of the wave (level scheduling: Hu, "Parallel sequencing and assembly line problems", 1961).
 */
import type { Program } from './program.ts';

/** What of memory a call touches, by any numbers that are the same where memory is the same. */
export interface Touched {
  readonly reads: readonly number[];
  readonly writes: readonly number[];
}

/** Numbers of calls that may run at the same time. */
export type Wave = readonly number[];

/** A step among those of all calls: which it is, and how many of those before it in this order must be done. */
export interface LinkedStep {
  readonly call: number;
  readonly step: number;
  readonly needs: number;
  /** Steps that need the same. */
  readonly count: number;
}

/** Calls of a wave have packing space of their own each. */
const MOST_ABREAST = 8;

/**
 * Each call as early as what it touches allows: after whoever writes what it reads, and after whoever touches what it writes. A call of which
 * that is not known (undefined) is alone, and nothing passes it.
 */
export function wavesOf(calls: readonly (Touched | undefined)[]): readonly Wave[] {
  const waves: number[][] = [];
  const written = new Map<number, number>();
  const read = new Map<number, number>();
  const after = (of: ReadonlyMap<number, number>, memory: readonly number[]) =>
    memory.reduce((wave, one) => Math.max(wave, (of.get(one) ?? -1) + 1), 0);
  let least = 0;
  calls.forEach((touched, call) => {
    const { reads, writes } = touched ?? { reads: [], writes: [] };
    let wave = touched
      ? Math.max(least, after(written, reads), after(written, writes), after(read, writes))
      : waves.length;
    while ((waves[wave]?.length ?? 0) >= MOST_ABREAST) wave++;
    waves[wave] = [...(waves[wave] ?? []), call];
    if (!touched) least = wave + 1;
    for (const one of reads) read.set(one, Math.max(wave, read.get(one) ?? 0));
    for (const one of writes) written.set(one, wave);
  });
  return waves;
}

/** What of a program says in which order it is done. */
type Steps = Pick<Program, 'steps'>;

/** First steps of a program's phases, and where the last one ends. */
function phasesOf({ steps }: Steps): readonly number[] {
  const starts = steps.flatMap(({ needs }, i) => (i === 0 || needs !== steps[i - 1]!.needs ? [i] : []));
  return [...starts, steps.length];
}

/** All steps in the order in which they are claimed: of each wave the first phases of all its calls, then the second ones. */
export function orderOf(programs: readonly Steps[], waves: readonly Wave[]): readonly LinkedStep[] {
  const order: LinkedStep[] = [];
  for (const wave of waves) {
    const phases = wave.map((call) => phasesOf(programs[call]!));
    const most = Math.max(...phases.map((starts) => starts.length - 1));
    for (let phase = 0; phase < most; phase++) {
      const stretches = wave.flatMap((call, i) => {
        const [first, end] = [phases[i]![phase], phases[i]![phase + 1]];
        return end === undefined ? [] : [{ call, first: first!, count: end - first! }];
      });
      const needs = order.length;
      const steps = abreast(stretches);
      order.push(...steps.map((step) => ({ ...step, needs, count: steps.length })));
    }
  }
  return order;
}

interface Stretch {
  readonly call: number;
  readonly first: number;
  readonly count: number;
}

/** Stretches of steps side by side, the first ones of all first, the last ones last: threads begin at different places in the row. */
function abreast(stretches: readonly Stretch[]): { readonly call: number; readonly step: number }[] {
  return stretches
    .flatMap(({ call, first, count }) =>
      Array.from({ length: count }, (_, i) => ({ call, step: first + i, at: (i + 0.5) / count })),
    )
    .toSorted((one, other) => one.at - other.at)
    .map(({ call, step }) => ({ call, step }));
}

/** One after another. */
export function inSequence(count: number): readonly Wave[] {
  return Array.from({ length: count }, (_, call) => [call]);
}
