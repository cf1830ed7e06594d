/** Problem to plan: wisdom if there is any, else the estimate. Measuring is the tuner's; its results come back as wisdom. */
import { applicableKernels, isApplicable, type KernelFilter } from '../kernels/select.ts';
import { findKernel, type Kernel } from '../kernels/table.ts';
import { keyOf, type Problem } from '../problem/problem.ts';
import { candidatePlans, planFits } from './candidates.ts';
import { estimateMs, usefulGflops } from './estimate.ts';
import { type Ladders, NARROW } from './ladders.ts';
import type { MachineProfile } from './machine.ts';
import type { Candidate, Effort, Plan } from './plan.ts';
import type { Wisdom } from './wisdom.ts';

export interface Planned {
  readonly key: string;
  readonly problem: Problem;
  readonly plan: Plan;
  readonly source: 'wisdom' | 'estimate';
  readonly effort: Effort;
  /** Measured milliseconds where wisdom has them, else the estimate. */
  readonly ms: number;
}

export interface PlannerContext {
  readonly filter: KernelFilter;
  readonly wisdom: Wisdom;
  readonly threads: number;
  machine(): MachineProfile;
}

/** Kernels of each family that an estimate looks at closely; fewer where several algorithms share them. */
const PROMISING = 8;
const PROMISING_FOR_IMAGES = 4;

/** A problem that takes one thread less than so many wake-ups stays on one: a race in a tight loop keeps the team awake and
 *  would promise a gain that a lone call does not get (128 cubed lost a quarter). */
const WORTH_WAKING = 3;
/** In a chain of calls no thread sleeps: the first step of each finds the others as fast as a later phase does. */
const AWAKE_US = 1;
/** And all wait for the end of a call, whoever did it: what is shared costs little more than that. */
const PHASE_AWAKE_US = 0.5;
/** Deep sleep on an idle machine can make a wake-up dearer than it is in practice. */
const WAKE_MOST_US = 250;

/** The kernels that are fastest on whole blocks, less what their padding would waste on this problem. */
function promising(p: Problem, kernels: readonly Kernel[], machine: MachineProfile): Kernel[] {
  const useful = new Map(kernels.map((kernel) => [kernel, usefulGflops(p, kernel, machine)]));
  const families = new Map<string, Kernel[]>();
  for (const kernel of kernels) {
    const family = `${kernel.dtype ?? 'f32'} ${kernel.family} ${kernel.lanes ?? ''}`;
    families.set(family, [...(families.get(family) ?? []), kernel]);
  }
  const most = p.op === 'conv' ? PROMISING_FOR_IMAGES : PROMISING;
  return [...families.values()].flatMap((family) =>
    // few depthwise kernels serve one filter, and whole blocks say little about them
    family[0]!.family === 'depthwise'
      ? family
      : family.sort((a, b) => useful.get(b)! - useful.get(a)!).slice(0, most),
  );
}

/** How a call is run: by itself; with others as one job, where no thread sleeps and more of them pay earlier; or so on one thread, where
 *  the job is over before others could be of use. */
export type Setting = 'call' | 'chain' | 'short chain';

export class Planner {
  readonly #context: PlannerContext;
  readonly #known = new Map<string, Planned>();
  /** Times measured by the tuner in this process, for `explain`. */
  readonly #measured = new Map<string, readonly Candidate[]>();

  constructor(context: PlannerContext) {
    this.#context = context;
  }

  /** Always answers, and at once: the same plan for the same key and setting until something is learned. */
  plan(problem: Problem, setting: Setting = 'call'): Planned {
    const name = this.#nameOf(problem, setting);
    const known = this.#known.get(name);
    if (known) return known;
    const planned = this.#fromWisdom(name, problem) ?? this.#fromEstimate(problem, setting);
    this.#known.set(name, planned);
    return planned;
  }

  /** What a plan is remembered by: a single thread does not mind what else runs. */
  #nameOf(problem: Problem, setting: Setting): string {
    return setting === 'call' || this.#context.threads === 1
      ? keyOf(problem)
      : `${keyOf(problem)} in a ${setting}`;
  }

  /** Candidates with estimates, best first; of one kernel only, if it is named. */
  candidates(
    problem: Problem,
    ladders: Ladders = NARROW,
    { only, setting = 'call' }: { readonly only?: string; readonly setting?: Setting } = {},
  ): Candidate[] {
    const { filter, machine } = this.#context;
    const threads = setting === 'short chain' ? 1 : this.#context.threads;
    const profile =
      setting === 'chain' ? { ...machine(), wakeUs: AWAKE_US, phaseUs: PHASE_AWAKE_US } : machine();
    const applicable = applicableKernels(problem, filter).filter(
      ({ name }) => only === undefined || name === only,
    );
    const kernels = ladders === NARROW ? promising(problem, applicable, profile) : applicable;
    const plans = candidatePlans(problem, kernels, ladders, threads);
    const rated = plans.map((plan) => ({ plan, estimateMs: estimateMs(problem, plan, profile) }));
    rated.sort((a, b) => a.estimateMs - b.estimateMs);
    const alone = rated.find(({ plan }) => plan.threads === 1);
    const worthWaking = (WORTH_WAKING * Math.min(profile.wakeUs, WAKE_MOST_US)) / 1e3;
    return alone && alone.estimateMs < worthWaking ? rated.filter(({ plan }) => plan.threads === 1) : rated;
  }

  /** Remembers what the tuner measured, and uses it from the next call on. */
  learn(
    problem: Problem,
    plan: Plan,
    effort: Effort,
    ms: number,
    candidates: readonly Candidate[],
    setting: Setting = 'call',
  ): void {
    const name = this.#nameOf(problem, setting);
    this.#context.wisdom.put(name, { plan, effort, ms, at: Date.now() });
    this.#measured.set(name, candidates);
    this.#known.delete(name);
  }

  measured(key: string): readonly Candidate[] | undefined {
    return this.#measured.get(key);
  }

  /** Forgets cached choices: after wisdom was imported or cleared, or a kernel was quarantined. */
  reconsider(): void {
    this.#known.clear();
  }

  #fromWisdom(name: string, problem: Problem): Planned | undefined {
    const entry = this.#context.wisdom.get(name);
    if (!entry) return undefined;
    const { plan, effort } = entry;
    const kernel = findKernel(plan.kernel);
    const usable = kernel && isApplicable(kernel, problem, this.#context.filter);
    if (!usable || !planFits(problem, plan, kernel) || plan.threads > this.#context.threads) return undefined;
    return {
      key: keyOf(problem),
      problem,
      plan,
      source: 'wisdom',
      effort,
      ms: entry.ms ?? estimateMs(problem, plan, this.#context.machine()),
    };
  }

  #fromEstimate(problem: Problem, setting: Setting): Planned {
    const key = keyOf(problem);
    const best = this.candidates(problem, NARROW, { setting })[0];
    if (!best) throw new Error(`no kernel serves ${key}: every applicable one is quarantined`);
    return { key, problem, plan: best.plan, source: 'estimate', effort: 'estimate', ms: best.estimateMs };
  }
}
