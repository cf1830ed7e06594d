/** gpu.js as a place for calls: opened, probed, asked for each call whether it is the faster way, and put aside where it is wrong. */
import { GpuJsBackend, type GpuJsReport, type GpuJsRequest } from '../../backends/gpujs/backend.ts';
import {
  type Gather,
  type GatherProblem,
  type GatherScalars,
  gatherOf,
  gathers,
} from '../../backends/gpujs/texts.ts';
import { systemClock } from '../../core/clock.ts';
import { TesseraeError } from '../../core/errors.ts';
import { fillRandom } from '../../core/random.ts';
import { type GatherProfile, gatherBytes, gatherMs } from '../../plan/gather.ts';
import type { Plan } from '../../plan/plan.ts';
import { matmulProblem } from '../../problem/matmul.ts';
import { keyOf, type Problem, resultElements } from '../../problem/problem.ts';
import type { GpuForm } from '../gpu/form.ts';
import type { BackendChoice, Policy, RuntimeEvent } from '../types.ts';
import { gatherFault } from './check.ts';

export interface GpuJsSettings {
  readonly request: GpuJsRequest;
  readonly backend: BackendChoice;
  readonly policy: Policy;
  readonly onEvent: (event: RuntimeEvent) => void;
  readonly profile?: GatherProfile;
  /** Gives back what was opened for this place alone. */
  readonly onClose?: () => void;
}

const PLAIN: GatherScalars = { alpha: 1, p0: 0, p1: 0 };

export class GpuJsPlace {
  readonly #settings: GpuJsSettings;
  readonly #backend: GpuJsBackend;
  readonly profile: GatherProfile;
  /** Texts that have passed their check, or why they have not. */
  readonly #checked = new Map<string, Promise<string | undefined>>();
  readonly #quarantined = new Map<string, string>();
  #closed = false;

  private constructor(settings: GpuJsSettings, backend: GpuJsBackend, profile: GatherProfile) {
    this.#settings = settings;
    this.#backend = backend;
    this.profile = profile;
  }

  /** @throws `E_GPU`. */
  static async open(settings: GpuJsSettings): Promise<GpuJsPlace> {
    const backend = await GpuJsBackend.open(settings.request);
    try {
      const profile = settings.profile ?? (await probe(backend));
      return new GpuJsPlace(settings, backend, profile);
    } catch (cause) {
      await backend.close();
      throw cause;
    }
  }

  get report(): GpuJsReport {
    return this.#backend.report;
  }

  get forced(): boolean {
    return this.#settings.backend === 'gpujs';
  }

  get quarantined(): { kernel: string; reason: string }[] {
    return [...this.#quarantined].map(([kernel, reason]) => ({ kernel, reason }));
  }

  /** The plan of a problem that can be computed here. */
  plan(p: Problem): Plan | undefined {
    if (!gathers(p) || this.#quarantined.has(kernelName(p))) return undefined;
    return {
      ...{ backend: 'gpujs', kernel: kernelName(p), algorithm: 'fixed', packing: 'none' },
      ...{ mc: 1, kc: 1, nc: 1, order: 'mn', threads: 1 },
    };
  }

  /** Milliseconds of a call from memory to memory; undefined where it is not computed here. */
  ms(p: Problem, elements: readonly number[]): number | undefined {
    if (this.#closed || !this.plan(p)) return undefined;
    if (!this.#backend.fits([...elements, resultElements(p)])) return undefined;
    return gatherMs(p, gatherBytes(p, elements), this.profile);
  }

  /** Whether a call goes here. @throws `E_FALLBACK` where policy is strict and it was sent here but cannot. */
  claims(
    { problem, empty }: { readonly problem: Problem; readonly empty: boolean },
    form: GpuForm | undefined,
    hereMs: () => number,
  ): boolean {
    if (empty) return false;
    const ms = form && this.ms(problem, elementsOf(form));
    if (ms === undefined) {
      if (this.forced && this.#settings.policy === 'strict') throw cannot(problem);
      return false;
    }
    return this.isBetter(ms, hereMs);
  }

  /** Whether a call of so many milliseconds goes here; a processor that stands in for a GPU takes its time from the threads. */
  isBetter(ms: number, hereMs: () => number): boolean {
    if (this.forced) return true;
    return this.#settings.backend === 'auto' && !this.report.software && ms < hereMs();
  }

  /** What a kernel of the user's makes of copies of its operands. @throws whatever gpu.js throws. */
  compute(gather: Gather, arrays: readonly Float32Array[]): Promise<Float32Array> {
    return this.#backend.run(gather, arrays);
  }

  /** What is asked; undefined where the kernel gives wrong answers here, or the context is gone. */
  async answer(
    p: GatherProblem,
    scalars: GatherScalars,
    arrays: readonly Float32Array[],
  ): Promise<Float32Array | undefined> {
    const gather = gatherOf(p, scalars);
    try {
      let checking = this.#checked.get(gather.key);
      if (!checking) {
        checking = gatherFault(this.#backend, p);
        this.#checked.set(gather.key, checking);
      }
      const fault = await checking;
      if (fault === undefined) return await this.#backend.run(gather, arrays);
      this.#quarantine(kernelName(p), `${gather.key}: ${fault}`);
    } catch (error) {
      this.#quarantine(kernelName(p), error instanceof Error ? error.message : String(error));
    }
    return undefined;
  }

  #quarantine(kernel: string, reason: string): void {
    if (this.#quarantined.has(kernel)) return;
    this.#quarantined.set(kernel, reason);
    this.#settings.onEvent({ type: 'quarantine', kernel, reason });
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#backend.close();
    this.#settings.onClose?.();
  }
}

function kernelName(p: GatherProblem): string {
  return { matmul: 'f32_gemm_gather__gpujs', conv: 'f32_conv_gather__gpujs', pool: 'f32_pool_gather__gpujs' }[
    p.op
  ];
}

function elementsOf({ a, b, bias }: GpuForm): number[] {
  return [a, b, bias].map((source) => source?.elements ?? 0);
}

function cannot(problem: Problem): TesseraeError {
  return new TesseraeError(
    'E_FALLBACK',
    `gpu.js was asked for, but there is no kernel of it for ${keyOf(problem)}`,
    { problem: keyOf(problem) },
    "Use policy 'auto', numerics 'fast', and operands that are neither prepacked nor added after the sum.",
  );
}

/** Products of these extents: one for a call's own time, one for the rate. */
const PROBED = { least: 4, software: 96, gpu: 512 } as const;
const RUNS = 3;

async function probe(backend: GpuJsBackend): Promise<GatherProfile> {
  const time = async (extent: number): Promise<number> => {
    const operand = fillRandom(new Float32Array(extent * extent), 1);
    const gather = gatherOf(matmulProblem({ m: extent, n: extent, k: extent }), PLAIN);
    let best = Number.POSITIVE_INFINITY;
    for (let nth = 0; nth < RUNS; nth++) {
      const start = systemClock.now();
      await backend.run(gather, [operand, operand, new Float32Array(1)]);
      best = Math.min(best, systemClock.now() - start);
    }
    return best;
  };
  const move = async (count: number): Promise<number> => {
    const gather = gatherOf(matmulProblem({ m: count / 1024, n: 1024, k: 1 }), PLAIN);
    const [a, b] = [new Float32Array(count / 1024), new Float32Array(1024)];
    const start = systemClock.now();
    await backend.run(gather, [a, b, new Float32Array(1)]);
    return systemClock.now() - start;
  };
  const callMs = await time(PROBED.least);
  const extent = backend.report.software ? PROBED.software : PROBED.gpu;
  const productMs = await time(extent);
  const count = 1024 * 256;
  const moveMs = Math.min(await move(count), await move(count));
  // coarse clocks may say that nothing took no time
  const least = 0.01;
  return {
    callMs,
    gflops: (2 * extent ** 3) / Math.max(least, productMs - callMs) / 1e6,
    moveGBs: (4 * count) / Math.max(least, moveMs - callMs) / 1e6,
  };
}
