/** When the compatibility backend is worth a call: it gathers, so it has one rate, and everything is moved there and back. */
import { flopsOf, type Problem, resultElements } from '../problem/problem.ts';

/** What the probe found. */
export interface GatherProfile {
  /** Milliseconds of a call that computes next to nothing. */
  readonly callMs: number;
  /** GFLOP/s of a plain product. */
  readonly gflops: number;
  /** GB/s of operands going there and results coming back. */
  readonly moveGBs: number;
}

/** Bytes that a call moves: operands of so many elements, and the result. */
export function gatherBytes(p: Problem, elements: readonly number[]): number {
  return 4 * (resultElements(p) + elements.reduce((sum, count) => sum + count, 0));
}

/** Milliseconds of a whole call. */
export function gatherMs(p: Problem, bytes: number, { callMs, gflops, moveGBs }: GatherProfile): number {
  return callMs + flopsOf(p) / gflops / 1e6 + bytes / moveGBs / 1e6;
}
