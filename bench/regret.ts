/**
 * How good are the planner's choices? For each shape: the plan of `estimate`, the plan of `measure`, the best of `exhaustive`
 * and the best plan of each promising kernel run one race, taking turns; the regret of a choice is its time over the
 * fastest one's, minus 1. Then: would one fixed kernel, with its best plan for every shape, have done better?
 *
 *     npm run bench -- regret [--suite regret] [--threads 1] [--measure-ms 1500] [--exhaustive-ms 20000]
 *                             [--engine-flags] [--json FILE]
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { processHost } from '../src/cli/bench/entry.ts';
import { HostedContestant } from '../src/cli/bench/hosted.ts';
import { RACE_DEFAULTS, race } from '../src/cli/bench/race.ts';
import { median, quantile } from '../src/cli/bench/stats.ts';
import { formatMs, formatPercent } from '../src/cli/format.ts';
import { printShape, type Shape } from '../src/cli/shapes/index.ts';
import { renderTable } from '../src/cli/table.ts';
import type { Core } from '../src/ops/core.ts';
import { tuneProblem } from '../src/ops/tuning.ts';
import { type Candidate, type Plan, printPlan } from '../src/plan/plan.ts';
import { openCore, openStage, planAsPeer, type Stage } from './core.ts';
import { shapesNamed } from './support.ts';

/** Kernels whose best plan was screened at more than this over the fastest one's time run no race: they cannot win it. */
const PROMISING = 1.35;
const MOST_KERNELS = 10;
/** Twice the rounds of a bench: the winner of a race among many must not win by a lucky sample. */
const RACE = { ...RACE_DEFAULTS, timeMs: 250, warmUpMs: 40, minRounds: 24, maxRounds: 60, slowMs: 10_000 };
/** Below this, one time is not more than another. */
const NOISE = 0.02;

interface Settings {
  readonly measureMs: number;
  readonly exhaustiveMs: number;
}

interface Choice {
  readonly plan: Plan;
  /** What the planner expects it to take. */
  readonly ms: number;
}

interface Choices {
  readonly estimate: Choice;
  readonly measure: Choice;
  readonly exhaustive: Choice;
  /** The best plan of each kernel as screened by `exhaustive`, fastest first. */
  readonly perKernel: readonly Choice[];
  readonly measured: number;
  readonly candidates: number;
}

interface ShapeResult {
  readonly shape: string;
  readonly bestMs: number;
  readonly best: string;
  readonly estimate: number;
  readonly measure: number;
  readonly exhaustive: number;
  readonly measured: number;
  readonly candidates: number;
  /** Time over the fastest one's of every kernel's best plan; Infinity where a kernel does not serve the shape. */
  readonly kernels: Readonly<Record<string, number>>;
}

export async function main(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      suite: { type: 'string', default: 'regret' },
      threads: { type: 'string', default: '1' },
      'measure-ms': { type: 'string', default: '1500' },
      'exhaustive-ms': { type: 'string', default: '20000' },
      'engine-flags': { type: 'boolean', default: false },
      json: { type: 'string' },
    },
  });
  const settings = { measureMs: Number(values['measure-ms']), exhaustiveMs: Number(values['exhaustive-ms']) };
  const shapes = shapesNamed(values.suite);
  const core = await openCore({ threads: Number(values.threads), engineFlags: values['engine-flags'] });
  const results: ShapeResult[] = [];
  try {
    for (const shape of shapes) {
      const result = await judge(core, shape, settings);
      results.push(result);
      console.error(`${results.length} of ${shapes.length}: ${describe(result)}`);
    }
  } finally {
    await core.close();
  }
  console.log(render(results));
  console.log(summary(results));
  if (values.json !== undefined)
    writeFileSync(values.json, `${JSON.stringify({ settings, results }, null, 2)}\n`);
}

async function judge(core: Core, shape: Shape, settings: Settings): Promise<ShapeResult> {
  const stage = openStage(core, shape);
  try {
    const choices = await choose(core, stage, settings);
    return await raceChoices(core, stage, choices);
  } finally {
    stage.dispose();
  }
}

/** In the order of a user's life: first the estimate, then measuring, then trying all. */
async function choose(core: Core, { problem }: Stage, settings: Settings): Promise<Choices> {
  const estimated = core.plan(problem);
  const measured = await tuneProblem(core, problem, { effort: 'measure', budgetMs: settings.measureMs });
  const all = await tuneProblem(core, problem, { effort: 'exhaustive', budgetMs: settings.exhaustiveMs });
  if (!estimated || !measured || !all) throw new Error('every kernel for a shape is quarantined');
  return {
    estimate: { plan: estimated.plan, ms: estimated.ms },
    measure: { plan: measured.plan, ms: measured.ms },
    exhaustive: { plan: all.plan, ms: all.ms },
    perKernel: bestPerKernel(all.candidates),
    measured: all.measured,
    candidates: all.candidates.length,
  };
}

/** A kernel, and the algorithm where there is a choice of one. */
function wayOf({ algorithm, kernel }: Plan): string {
  return algorithm === 'gemm' ? kernel : `${algorithm} ${kernel}`;
}

function bestPerKernel(candidates: readonly Candidate[]): readonly Choice[] {
  const best = new Map<string, Choice>();
  for (const { plan, measuredMs: ms } of candidates) {
    const way = wayOf(plan);
    if (ms !== undefined && ms < (best.get(way)?.ms ?? Number.POSITIVE_INFINITY)) best.set(way, { plan, ms });
  }
  return [...best.values()].sort((x, y) => x.ms - y.ms);
}

async function raceChoices(core: Core, stage: Stage, choices: Choices): Promise<ShapeResult> {
  const { estimate, measure, exhaustive, perKernel } = choices;
  const screenBest = perKernel[0]?.ms ?? Number.NaN;
  const promising = perKernel.filter(({ ms }) => ms <= PROMISING * screenBest).slice(0, MOST_KERNELS);
  // One lane a plan: choices that agree share their time.
  const lanes = new Map(
    [...promising, exhaustive, measure, estimate].map((choice) => [printPlan(choice.plan), choice]),
  );
  const contestants = [...lanes.values()].map(
    ({ plan, ms }) => new HostedContestant(planAsPeer(core, stage, plan, ms), processHost()),
  );
  const times = new Map<string, number>();
  for (const outcome of (await race(contestants, stage.shape, RACE)).outcomes) {
    if (outcome.status !== 'timed')
      throw new Error(`${outcome.id}: ${outcome.status} ${'reason' in outcome ? outcome.reason : ''}`);
    times.set(outcome.id, outcome.summary.median);
  }
  const [best, bestMs] = [...times].reduce((x, y) => (y[1] < x[1] ? y : x));
  const over = ({ plan, ms }: Choice) => (times.get(printPlan(plan)) ?? (ms / screenBest) * bestMs) / bestMs;
  return {
    ...{
      shape: printShape(stage.shape),
      bestMs,
      best,
      measured: choices.measured,
      candidates: choices.candidates,
    },
    ...{ estimate: over(estimate) - 1, measure: over(measure) - 1, exhaustive: over(exhaustive) - 1 },
    kernels: Object.fromEntries(perKernel.map((choice) => [wayOf(choice.plan), over(choice)])),
  };
}

function describe({ shape, estimate, measure, exhaustive, best }: ShapeResult): string {
  return `${shape}: estimate +${formatPercent(estimate)}, measure +${formatPercent(measure)}, exhaustive +${formatPercent(exhaustive)}; best ${best}`;
}

function render(results: readonly ShapeResult[]): string {
  const right = 'right' as const;
  const columns = [
    { title: 'shape' },
    { title: 'best', align: right },
    { title: 'estimate', align: right },
    { title: 'measure', align: right },
    { title: 'exhaustive', align: right },
    { title: 'tried', align: right },
    { title: 'best plan' },
  ];
  const rows = results.map((result) => [
    result.shape,
    formatMs(result.bestMs),
    ...[result.estimate, result.measure, result.exhaustive].map((regret) => `+${formatPercent(regret)}`),
    `${result.measured} of ${result.candidates}`,
    result.best,
  ]);
  return renderTable(columns, rows, (text) => text);
}

function summary(results: readonly ShapeResult[]): string {
  const efforts = (['estimate', 'measure', 'exhaustive'] as const).map((effort) => {
    const regrets = results.map((result) => result[effort]).sort((x, y) => x - y);
    const [middle, p90, worst] = [0.5, 0.9, 1].map((q) => formatPercent(quantile(regrets, q)));
    return `regret of ${effort.padEnd(10)}  median ${middle}, p90 ${p90}, worst ${worst}  (${results.length} shapes)`;
  });
  const fixed = bestFixedKernel(results);
  if (!fixed) return efforts.join('\n');
  const lost = results.filter(
    ({ measure, kernels }) => 1 + measure > (1 + NOISE) * (kernels[fixed.name] ?? Number.POSITIVE_INFINITY),
  );
  return [
    ...efforts,
    `best single fixed kernel, at its best plan for every shape: ${fixed.name}, median regret ${formatPercent(fixed.regret)}`,
    lost.length === 0
      ? 'the tuned choice loses to it nowhere'
      : `the tuned choice loses to it by more than ${formatPercent(NOISE)} on: ${lost.map(({ shape }) => shape).join(', ')}`,
  ].join('\n');
}

/** The kernel that serves the most shapes, and of these the one with the least median regret. */
function bestFixedKernel(
  results: readonly ShapeResult[],
): { readonly name: string; readonly regret: number } | undefined {
  const names = [...new Set(results.flatMap(({ kernels }) => Object.keys(kernels)))];
  const rated = names.map((name) => {
    const served = results.flatMap(({ kernels }) => kernels[name] ?? []);
    return { name, served: served.length, regret: median(served) - 1 };
  });
  return rated.sort((x, y) => y.served - x.served || x.regret - y.regret)[0];
}
