/**
 * How fast is the machine itself at this moment? A fixed piece of plain JavaScript, timed once in every round of a race.
 * `compare` uses it to tell a change of the code from a change of the machine: another frequency, other work beside it.
 */
import type { Shape } from '../shapes/index.ts';
import { isMemoryBound } from './operands.ts';
import type { Clock } from './types.ts';

/** Returns the milliseconds that the fixed work took. */
export type Control = () => number;

/** Dependent multiplications: some 2 ms on a core of 2020 to 2026, whatever the compiler makes of them. */
const STEPS = 600_000;

/** 64 MB, one value of every cache line read: beyond the caches, as a GEMV's matrix is. */
const LINE = 16;
const FLOATS = 16 * 2 ** 20;

export function makeControl(shape: Shape, now: Clock): Control {
  return isMemoryBound(shape) ? readingControl(now) : computingControl(now);
}

function computingControl(now: Clock): Control {
  const work = () => {
    let value = 1;
    for (let i = 0; i < STEPS; i++) value = value * 1.0000001 + 1e-9;
    return value;
  };
  return () => timed(work, now);
}

/** The array is shared by all controls of this process: it is only read. */
let memory: Float32Array | undefined;

function readingControl(now: Clock): Control {
  memory ??= new Float32Array(FLOATS).fill(1);
  const values = memory;
  const work = () => {
    let sum = 0;
    for (let i = 0; i < values.length; i += LINE) sum += values[i]!;
    return sum;
  };
  return () => timed(work, now);
}

function timed(work: () => number, now: Clock): number {
  const start = now();
  // The value is looked at, or a compiler might leave the work out.
  if (!(work() > 0)) throw new Error('the control work went wrong');
  return now() - start;
}
