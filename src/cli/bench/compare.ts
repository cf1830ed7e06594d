/**
 * What changed between two bench reports beyond the noise; a pure function of the two.
 *
 * A row has changed if all three hold:
 * - the samples differ more than chance allows: Mann-Whitney on ranks (no assumption of a bell curve), the sample
 *   sizes shrunk by how much neighbouring samples resemble each other, the p-values corrected by Holm for the
 *   number of rows;
 * - the medians differ by more than the smallest effect worth talking of and by more than either run drifted between
 *   its own halves, and still do after what the machine itself changed is taken off, as the control in each round tells;
 * - the fast samples (p10) moved the same way, by at least half as much as is asked of the medians: other work on
 *   the machine mostly slows the slow samples, a change of the code slows all.
 */
import type { BenchCell, BenchReport } from './report.ts';
import { driftOf, effectiveSize, holm, mannWhitney, median, summarize } from './stats.ts';

export interface CompareOptions {
  /** Smallest change of the median that counts, as a share. */
  readonly minEffect: number;
  /** Chance that the ranks of equal things alone would show any change in a whole comparison; the two other
   *  conditions make it far smaller. */
  readonly alpha: number;
}

export const COMPARE_DEFAULTS: CompareOptions = { minEffect: 0.05, alpha: 0.05 };

export type Verdict =
  | 'same'
  | 'faster'
  | 'slower'
  /** The answer was right in one report and wrong in the other. */
  | 'broken'
  | 'mended'
  /** Fewer samples than a decision over so many rows needs. */
  | 'too few samples'
  /** Not timed in one or both. */
  | 'not comparable';

export interface ComparedRow {
  readonly key: string;
  readonly id: string;
  readonly verdict: Verdict;
  readonly medianA?: number;
  readonly medianB?: number;
  /** Time in b over time in a: above 1, b is slower. */
  readonly ratio?: number;
  /** Corrected p-value. */
  readonly p?: number;
}

export interface Comparison {
  readonly rows: readonly ComparedRow[];
  readonly onlyInA: readonly string[];
  readonly onlyInB: readonly string[];
  /** What differs between the circumstances, so that a change may not be the code's. */
  readonly warnings: readonly string[];
  readonly changed: boolean;
}

interface Named {
  readonly key: string;
  readonly cell: BenchCell;
  readonly control: readonly number[];
}

interface Pair {
  readonly key: string;
  readonly id: string;
  readonly a: BenchCell;
  readonly b: BenchCell;
  /** How much slower the machine was in b. */
  readonly machine: number;
}

const CHANGES: readonly Verdict[] = ['faster', 'slower', 'broken', 'mended'];

export function compareReports(
  a: BenchReport,
  b: BenchReport,
  options: Partial<CompareOptions> = {},
): Comparison {
  const settings = { ...COMPARE_DEFAULTS, ...options };
  const [cellsA, cellsB] = [cellsOf(a), cellsOf(b)];
  const pairs = [...cellsA].flatMap(([name, cell]): Pair[] => {
    const other = cellsB.get(name);
    if (other === undefined) return [];
    return [{ key: cell.key, id: cell.cell.id, a: cell.cell, b: other.cell, machine: speedOf(cell, other) }];
  });
  const rows = decide(pairs, settings);
  return {
    rows,
    onlyInA: [...cellsA.keys()].filter((name) => !cellsB.has(name)),
    onlyInB: [...cellsB.keys()].filter((name) => !cellsA.has(name)),
    warnings: circumstances(a, b),
    changed: rows.some(({ verdict }) => CHANGES.includes(verdict)),
  };
}

function cellsOf(report: BenchReport): ReadonlyMap<string, Named> {
  const cells = new Map<string, Named>();
  for (const { key, cells: row, control } of report.rows) {
    for (const cell of row) cells.set(`${key}, ${cell.id}`, { key, cell, control });
  }
  for (const outcome of report.cold?.outcomes ?? []) {
    if (outcome.status !== 'timed') continue;
    // A cold start is a row like any other.
    const cell: BenchCell = {
      ...outcome,
      firstMs: outcome.samples[0] ?? 0,
      iterations: 1,
      verified: 'every element',
    };
    cells.set(`cold, ${outcome.id}`, { key: 'cold', cell, control: [] });
  }
  return cells;
}

/** 1 where a report has no control, or too little of it. */
function speedOf(a: Named, b: Named): number {
  const ratio = median(b.control) / median(a.control);
  return Number.isFinite(ratio) && ratio > 0 ? ratio : 1;
}

function decide(pairs: readonly Pair[], settings: CompareOptions): readonly ComparedRow[] {
  const pValues = pairs.map(({ a, b }) =>
    a.status === 'timed' && b.status === 'timed' ? significance(a, b) : 1,
  );
  const tested = pairs.filter(({ a, b }) => a.status === 'timed' && b.status === 'timed').length;
  const corrected = holm(pValues);
  return pairs.map((pair, index) => decideRow(pair, corrected[index] ?? 1, tested, settings));
}

function significance(
  a: { readonly samples: readonly number[] },
  b: { readonly samples: readonly number[] },
): number {
  return mannWhitney(a.samples, b.samples, [effectiveSize(a.samples), effectiveSize(b.samples)]);
}

function decideRow(
  { key, id, a, b, machine }: Pair,
  p: number,
  tested: number,
  settings: CompareOptions,
): ComparedRow {
  if (a.status !== 'wrong' && b.status === 'wrong') return { key, id, verdict: 'broken' };
  if (a.status === 'wrong' && b.status !== 'wrong') return { key, id, verdict: 'mended' };
  if (a.status !== 'timed' || b.status !== 'timed') return { key, id, verdict: 'not comparable' };
  const [before, after] = [summarize(a.samples), summarize(b.samples)];
  const ratio = after.median / before.median;
  const row = { key, id, medianA: before.median, medianB: after.median, ratio, p };
  const needed = Math.max(
    Math.log1p(settings.minEffect),
    Math.log(driftOf(a.samples)),
    Math.log(driftOf(b.samples)),
  );
  const direction = Math.sign(ratio - 1);
  const moved = direction * Math.log(ratio);
  const movedAgainstMachine = moved - direction * Math.log(machine);
  const fastMoved = direction * Math.log(after.p10 / before.p10);
  const enough = Math.min(moved, movedAgainstMachine) > needed && fastMoved > needed / 2;
  if (!enough) return { ...row, verdict: 'same' };
  if (p < settings.alpha) return { ...row, verdict: direction > 0 ? 'slower' : 'faster' };
  const decidable = smallestP(a.samples.length, b.samples.length) * tested < settings.alpha;
  return { ...row, verdict: decidable ? 'same' : 'too few samples' };
}

/** The p-value of samples that do not overlap at all: no test of so few can say more. */
function smallestP(n: number, m: number): number {
  const numbers = Array.from({ length: n + m }, (_, i) => i);
  return mannWhitney(numbers.slice(0, n), numbers.slice(n));
}

function circumstances(a: BenchReport, b: BenchReport): readonly string[] {
  const facts = (report: BenchReport): Readonly<Record<string, string>> => ({
    'tesserae version': report.version,
    Node: report.environment.node,
    CPU: report.environment.cpu,
    cores: String(report.environment.cores),
    threads: String(report.settings.threads),
    numerics: report.settings.numerics,
    effort: report.settings.effort,
    'V8 flags': report.engineFlags.join(' ') || 'none',
  });
  const [first, second] = [facts(a), facts(b)];
  const different = Object.keys(first).filter((name) => first[name] !== second[name]);
  const warnings = different.map((name) => `${name} differs: ${first[name]} in a, ${second[name]} in b`);
  for (const [name, { environment, interrupted }] of Object.entries({ a, b })) {
    if (environment.load > environment.cores / 4)
      warnings.push(`the machine was busy during ${name} (load ${environment.load.toFixed(1)})`);
    if (interrupted) warnings.push(`${name} was interrupted`);
  }
  return warnings;
}
