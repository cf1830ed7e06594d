/** The result of a bench run as one JSON document: what `--json` writes and `compare` reads. */
import type { Effort, MachineReport, Numerics } from '../../index.ts';
import type { Environment } from '../environment.ts';
import { printShape, type Shape } from '../shapes/index.ts';
import type { ColdOutcome } from './cold.ts';
import { bytesOf, flopsOf, isMemoryBound } from './operands.ts';
import { OURS } from './ours.ts';
import type { RaceResult } from './race.ts';
import { pairedRatio } from './stats.ts';
import type { ContestantInfo, Outcome } from './types.ts';

/** Raised when a field changes its meaning; `compare` refuses others. */
export const REPORT_SCHEMA = 1;

export interface BenchReport {
  readonly tool: 'tesserae';
  readonly kind: 'bench';
  readonly schema: typeof REPORT_SCHEMA;
  readonly version: string;
  readonly date: string;
  readonly interrupted: boolean;
  readonly environment: Environment;
  readonly settings: BenchSettings;
  readonly machine: MachineReport;
  /** V8 flags that were set; they hold for tesserae alone, peers run in processes without them. */
  readonly engineFlags: readonly string[];
  /** Where everything of ours was sent there. */
  readonly gpu?: {
    readonly name: string;
    readonly software: boolean;
    readonly peakGflops: number;
    readonly resident: boolean;
  };
  readonly contestants: readonly ContestantInfo[];
  readonly absent: readonly { readonly id: string; readonly reason: string }[];
  readonly cold: { readonly library: string; readonly outcomes: readonly ColdOutcome[] } | null;
  readonly rows: readonly BenchRow[];
  /** How the contestants compare by kind of layer; absent where no convolution was measured beside a peer. */
  readonly kinds?: readonly KindSummary[];
}

export interface KindSummary {
  readonly kind: string;
  readonly layers: number;
  /** One entry for each peer that was timed beside us on at least one of the layers. */
  readonly over: readonly PeerRatio[];
}

export interface PeerRatio {
  readonly id: string;
  /** Layers on which both were timed. */
  readonly layers: number;
  /** Geometric mean of its time over ours: above 1, tesserae is faster. */
  readonly geomean: number;
  /** The layer on which we look worst. */
  readonly min: number;
  readonly minKey: string;
}

export interface BenchSettings {
  readonly suite: string;
  readonly threads: number;
  readonly numerics: Numerics;
  readonly effort: Effort;
  readonly timeMs: number;
}

export interface BenchRow {
  readonly shape: Shape;
  /** Canonical text of the shape: the key by which two reports are matched. */
  readonly key: string;
  readonly flops: number;
  readonly bytes: number;
  /** Milliseconds of a fixed piece of JavaScript in each round: the machine's own speed meanwhile. */
  readonly control: readonly number[];
  readonly cells: readonly BenchCell[];
}

export type BenchCell = Outcome & {
  /** At the median time; absent where nothing was timed. */
  readonly rate?: Rate;
  /** Median of the paired ratios of this contestant's time over ours: above 1, tesserae is faster. */
  readonly oursFasterBy?: number;
};

export interface Rate {
  readonly gflops: number;
  /** Read and written bytes per second, GB/s. */
  readonly gbs: number;
  /** Share of the measured ceiling: multiply-adds, or reading memory where that is the limit (GEMV, depthwise). */
  readonly ofCeiling: number;
  readonly ceiling: 'multiply-add' | 'memory';
}

export function makeRow(
  shape: Shape,
  { outcomes, control }: RaceResult,
  machine: MachineReport,
  threads: number,
): BenchRow {
  const own = outcomes.find(({ id }) => id === OURS);
  const cells = outcomes.map((outcome): BenchCell => {
    if (outcome.status === 'slow')
      return { ...outcome, rate: rateOf(shape, outcome.firstMs, machine, threads) };
    if (outcome.status !== 'timed') return outcome;
    const cell = { ...outcome, rate: rateOf(shape, outcome.summary.median, machine, threads) };
    if (own?.status !== 'timed' || outcome.id === OURS) return cell;
    return { ...cell, oursFasterBy: pairedRatio(own.samples, outcome.samples) };
  });
  return { shape, key: printShape(shape), flops: flopsOf(shape), bytes: bytesOf(shape), control, cells };
}

/** One ceiling for all contestants: that of as many threads as were asked for. */
function rateOf(shape: Shape, ms: number, machine: MachineReport, threads: number): Rate {
  const gflops = flopsOf(shape) / ms / 1e6;
  const gbs = bytesOf(shape) / ms / 1e6;
  if (!isMemoryBound(shape)) {
    return { gflops, gbs, ofCeiling: gflops / (machine.peakGflops * threads), ceiling: 'multiply-add' };
  }
  const memory = threads === 1 ? machine.readGBs : machine.readGBsAllThreads;
  return { gflops, gbs, ofCeiling: gbs / memory, ceiling: 'memory' };
}

/** Our own wrong or failed answers: what the exit code is about. A peer's are shown and no fault of ours. */
export function ownFailures(report: BenchReport): readonly string[] {
  return report.rows.flatMap(({ key, cells }) =>
    cells.flatMap((cell) =>
      cell.id === OURS && (cell.status === 'wrong' || cell.status === 'failed')
        ? [`${key}: ${cell.reason}`]
        : [],
    ),
  );
}
