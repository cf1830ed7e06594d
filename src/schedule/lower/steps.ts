/** Steps in the making, and what the ways to lower a problem share. */
import { ELEMENT_FLOPS, fairBlock } from '../../plan/fair.ts';
import type { Program, Step } from '../../plan/program.ts';
import { stretchesOf } from '../tiles.ts';

/** Packed panels of one slice take at most this many elements (32 MiB), or one kc block if that is more: enough to make
 *  waits rare, small enough not to double the memory of a large product. */
export const SLICE_ELEMENTS = 8 * 1024 * 1024;

/** Operations of one step at most (some milliseconds): an abort waits for steps that have begun. */
export const STEP_FLOPS = 2e8;

/** Elements that one packing step moves: some tens of microseconds, so that threads share the work evenly. */
export const PACK_STEP_ELEMENTS = 16 * 1024;

/** What a way to lower a problem gives; the rest follows from the problem itself. */
export type Lowered = Omit<Program, 'problem' | 'plan' | 'epilogue'>;

/** One product or image of a batch, or one group of it: where its operands and its result begin. */
export interface Member {
  readonly a: number;
  readonly b: number;
  readonly c: number;
  /** Which matrix of A and B it is: equal numbers share panels. */
  readonly indexA: number;
  readonly indexB: number;
  /** First output channel, for the bias. */
  readonly channel: number;
}

const NO_MEMBER: Member = { a: 0, b: 0, c: 0, indexA: 0, indexB: 0, channel: 0 };

/** A list of steps that keeps the phase boundary that later steps must wait for. */
export class StepList {
  readonly steps: Step[] = [];
  readonly #threads: number;
  #needs = 0;

  /** `threads`: those that share what `addStretches` adds. */
  constructor(threads = 1) {
    this.#threads = threads;
  }

  /** Later steps wait for all that stand here now. */
  endPhase(): void {
    this.#needs = this.steps.length;
  }

  /** Parts that are put together of others spread them last: V8 11 takes 0.2 us for `{ x, ...rest }`, and 3 to 8 for `{ ...rest, x }`. */
  add(op: Step['op'], part: Partial<Step>, member: Member = NO_MEMBER): void {
    this.steps.push({
      op,
      needs: this.#needs,
      a: member.a,
      b: member.b,
      c: member.c,
      m0: 0,
      rows: 0,
      n0: 0,
      cols: 0,
      k0: 0,
      ks: 0,
      first: true,
      last: true,
      packedA: 0,
      packedB: 0,
      channel: member.channel,
      ...part,
    });
  }

  /** Steps for stretches of `count` lines of `perLine` elements each, in multiples of `unit`; `parts`: of how many such calls, for equal parts. */
  addStretches(
    op: Step['op'],
    count: number,
    perLine: number,
    unit: number,
    part: (from: number, length: number) => Partial<Step>,
    member?: Member,
    parts = 1,
  ): void {
    const most = Math.max(unit, Math.ceil(PACK_STEP_ELEMENTS / Math.max(1, perLine) / unit) * unit);
    const flops = ELEMENT_FLOPS * count * perLine * parts;
    const chunk = fairBlock(count, most, unit, { threads: this.#threads, flops, parts });
    for (const { from, length } of stretchesOf(count, chunk)) this.add(op, part(from, length), member);
  }
}
