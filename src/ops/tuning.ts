/** Tuning a problem for real: operands in memory, plans run and their answers checked. */

import type { Backend } from '../backends/types.ts';
import { systemClock } from '../core/clock.ts';
import { abortReason } from '../core/errors.ts';
import { roundUp } from '../core/math.ts';
import { fillRandom, randomFrom } from '../core/random.ts';
import { kernelsUsed } from '../kernels/table.ts';
import { NARROW, WIDE } from '../plan/candidates.ts';
import type { Candidate, Effort, Plan } from '../plan/plan.ts';
import type { Planner } from '../plan/planner.ts';
import { type MatmulProblem, matmulKey } from '../problem/matmul.ts';
import type { Executor, Operands } from '../schedule/execute.ts';
import { type Tuned, tunePlan } from '../tune/tune.ts';

/** What tuning needs of a runtime. */
export interface Tunable {
  readonly backend: Backend;
  readonly planner: Planner;
  readonly executor: Executor;
  readonly onEvent: (event: { type: 'planned'; key: string; plan: Plan; effort: Effort }) => void;
  trust(kernel: string): boolean;
  checkOpen(what: string): void;
  saveSoon(): void;
}

export interface TuneLimits {
  readonly effort: Exclude<Effort, 'estimate'>;
  readonly budgetMs: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
}

/** Elements of a result that are checked against float64, at random places. */
const SPOT_CHECKS = 24;
/** A run longer than this is given to the team, so that the event loop stays free while tuning. */
const OFF_THREAD_MS = 20;

interface Bench {
  readonly operands: Operands;
  readonly result: () => Float32Array;
  readonly a: () => Float32Array;
  readonly b: () => Float32Array;
  release(): void;
}

/** Random operands of a problem in memory. A prepacked B is random panels: their time does not depend on their values. */
function makeBench(core: Tunable, p: MatmulProblem): Bench {
  const countA = (p.sharedA ? 1 : p.batch) * p.m * p.k;
  const columns = p.panel ? roundUp(p.n, p.panel.nr) : p.n;
  const countB = (p.sharedB ? 1 : p.batch) * columns * p.k;
  const countC = p.batch * p.m * p.n;
  const held: number[] = [];
  const take = (count: number, seed: number) => {
    const address = core.backend.allocate(4 * count, 'scratch');
    held.push(address);
    fillRandom(core.backend.view(address, count), seed);
    return address;
  };
  try {
    const [a, b, c, bias] = [take(countA, 1), take(countB, 2), take(countC, 3), take(Math.max(p.m, p.n), 4)];
    return {
      operands: {
        a,
        b,
        c,
        bias,
        alpha: p.scaled ? 0.5 : 1,
        beta: p.accumulate ? 0.5 : 0,
        clipMin: -1,
        clipMax: 1,
        packedB: p.panel ? b : undefined,
      },
      result: () => core.backend.view(c, countC),
      a: () => core.backend.view(a, countA),
      b: () => core.backend.view(b, countB),
      release: () => {
        for (const address of held) core.backend.free(address);
      },
    };
  } catch (error) {
    for (const address of held) core.backend.free(address);
    throw error;
  }
}

/** Whether random elements of a plain product are right; epilogues are checked by the self-check and the tests. */
function spotCheck(p: MatmulProblem, bench: Bench, seed: number): string | undefined {
  const next = randomFrom(seed);
  const pick = (count: number) => Math.floor(next() * count);
  const [a, b, c] = [bench.a(), bench.b(), bench.result()];
  for (let check = 0; check < SPOT_CHECKS; check++) {
    const [i, j] = [pick(p.m), pick(p.n)];
    let sum = 0;
    let size = 0;
    for (let x = 0; x < p.k; x++) {
      const term =
        a[p.transposeA ? x * p.m + i : i * p.k + x]! * b[p.transposeB ? j * p.k + x : x * p.n + j]!;
      sum += term;
      size += Math.abs(term);
    }
    const got = c[i * p.n + j]!;
    if (!(Math.abs(got - sum) <= 2 ** -23 * (p.k + 2) * size))
      return `element [${i}, ${j}] is ${got}, not ${sum}`;
  }
  return undefined;
}

function isPlainProduct(p: MatmulProblem): boolean {
  return !p.panel && p.bias === 'none' && p.activation === 'none' && !p.scaled && !p.accumulate;
}

/** Runs the race and remembers its winner. Undefined if no candidate could be measured. */
export async function tuneProblem(
  core: Tunable,
  problem: MatmulProblem,
  limits: TuneLimits,
): Promise<Tuned | undefined> {
  const key = matmulKey(problem);
  const exhaustive = limits.effort === 'exhaustive';
  const trusted = ({ plan }: Candidate) => kernelsUsed(plan.kernel).every((name) => core.trust(name));
  const candidates = core.planner.candidates(problem, exhaustive ? WIDE : NARROW).filter(trusted);
  const neighbours = ({ kernel, packing }: Plan) =>
    core.planner.candidates(problem, WIDE, kernel).filter(({ plan }) => plan.packing === packing);
  const bench = makeBench(core, problem);
  const run = (plan: Plan, ms: number) => {
    const execution = { key, problem, plan, ms };
    if (ms < OFF_THREAD_MS) return core.executor.runSync(execution, bench.operands);
    return core.executor.run(execution, bench.operands, { signal: limits.signal });
  };
  const verify = (plan: Plan): string | undefined => {
    bench.result().fill(Number.NaN);
    core.executor.runSync({ key, problem, plan, ms: 0 }, bench.operands);
    return isPlainProduct(problem) ? spotCheck(problem, bench, 11) : undefined;
  };
  try {
    const tuned = await tunePlan(
      { candidates, exhaustive, neighbours, run, verify },
      { clock: systemClock, ...limits },
    );
    if (limits.signal?.aborted) throw abortReason(limits.signal);
    core.checkOpen('tune');
    if (tuned) {
      core.planner.learn(problem, tuned.plan, limits.effort, tuned.ms, tuned.candidates);
      core.onEvent({ type: 'planned', key, plan: tuned.plan, effort: limits.effort });
      core.saveSoon();
    }
    return tuned;
  } finally {
    bench.release();
  }
}
