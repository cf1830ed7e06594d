/**
 * The GPU of one runtime: opened, probed, asked for each call whether it is the better place, and opened anew when it was lost.
 */
import { deviceLost, WebGpuBackend } from '../../backends/webgpu/backend.ts';
import {
  convert,
  prepareHalves,
  type Storage,
  bytesOf as storedBytes,
} from '../../backends/webgpu/halves.ts';
import type { Launch } from '../../backends/webgpu/launch.ts';
import { type GpuRequest, type OpenedGpu, openGpu } from '../../backends/webgpu/open.ts';
import { probedGpuKernels, probeGpu } from '../../backends/webgpu/probe.ts';
import { systemClock } from '../../core/clock.ts';
import { TesseraeError } from '../../core/errors.ts';
import { type Shape, sizeOf } from '../../core/shape.ts';
import { findGpuKernel, gpuServes, isOffered } from '../../kernels/gpu.ts';
import {
  allMoves,
  type BothMoves,
  type GpuPlan,
  type GpuProfile,
  gpuPlans,
  placeCall,
  splitCall,
} from '../../plan/gpu.ts';
import type { Effort, Plan } from '../../plan/plan.ts';
import type { Wisdom } from '../../plan/wisdom.ts';
import { keyOf, type Problem } from '../../problem/problem.ts';
import type { Remote } from '../tensor.ts';
import type { BackendChoice, PlacedOptions, Policy, RuntimeEvent } from '../types.ts';
import { type GpuForm, resultPlace, sourcesOf } from './form.ts';
import { Launches } from './launch.ts';
import { GpuValues, valuesOn } from './remote.ts';
import { storedProblem } from './stored.ts';

const MiB = 1024 * 1024;

/** What of a call its place depends on. */
interface Asked {
  readonly problem: Problem;
  readonly shape: Shape;
  readonly empty: boolean;
}

export interface GpuSettings {
  readonly request: GpuRequest;
  readonly backend: BackendChoice;
  readonly policy: Policy;
  readonly onEvent: (event: RuntimeEvent) => void;
  readonly wisdom: Wisdom;
  /** Tests pass devices that are lost on command, and profiles. */
  readonly open?: (request: GpuRequest) => Promise<OpenedGpu>;
  readonly profile?: GpuProfile;
}

export class GpuPlace {
  readonly #settings: GpuSettings;
  readonly profile: GpuProfile;
  #backend: WebGpuBackend;
  #reopening: Promise<boolean> | undefined;
  #closed = false;
  /** Shaders whose answers were right at their first use, and the plans that they are of. */
  readonly checked = new Set<string>();
  readonly trusted = new WeakSet<Plan>();
  readonly #launches = new Launches();
  readonly #quarantined = new Map<string, string>();
  readonly #planned = new Map<string, readonly GpuPlan[]>();
  readonly #measured = new Map<string, readonly GpuPlan[]>();

  private constructor(settings: GpuSettings, backend: WebGpuBackend, profile: GpuProfile) {
    this.#settings = settings;
    this.#backend = backend;
    this.profile = profile;
  }

  /** @throws `E_GPU` where none can be had. */
  static async open(settings: GpuSettings): Promise<GpuPlace> {
    const onLost = (reason: string) => settings.onEvent({ type: 'gpu-lost', reason });
    const backend = new WebGpuBackend(await (settings.open ?? openGpu)(settings.request), onLost);
    try {
      const profile = settings.profile ?? (await profileOf(backend, settings));
      return new GpuPlace(settings, backend, profile);
    } catch (error) {
      await backend.close();
      throw error;
    }
  }

  get backend(): WebGpuBackend {
    return this.#backend;
  }

  /** The package gpu.js, where the caller gave it. */
  get gpujs(): unknown {
    return this.#settings.request.gpujs;
  }

  /** Whether calls go here whatever they cost. */
  get forced(): boolean {
    return this.#settings.backend === 'webgpu';
  }

  get quarantined(): { kernel: string; reason: string }[] {
    return [...this.#quarantined].map(([kernel, reason]) => ({ kernel, reason }));
  }

  /** Plans for a problem, best first: measured ones where there are any. */
  plans(problem: Problem): readonly GpuPlan[] {
    const key = keyOf(problem);
    let plans = this.#planned.get(key);
    if (!plans) {
      const known = this.#measured.get(key) ?? this.#fromWisdom(problem);
      plans = known?.filter(({ plan }) => !this.#quarantined.has(plan.kernel)) ?? this.estimates(problem);
      this.#planned.set(key, plans);
    }
    return plans;
  }

  /** The launch of a problem by a plan's row of the table. */
  launch(problem: Problem, plan: Plan): Launch {
    return this.#launches.get(problem, plan);
  }

  /** Plans by the probe's figures alone. */
  estimates(problem: Problem): readonly GpuPlan[] {
    const { features } = this.#backend.report;
    const isOpen = ({ plan }: GpuPlan) =>
      !this.#quarantined.has(plan.kernel) && isOffered(findGpuKernel(plan.kernel)!, features);
    return gpuPlans(problem, this.profile).filter(isOpen);
  }

  /** Whether calls may come here without having been sent. */
  get isWelcome(): boolean {
    return this.forced || (this.#settings.backend === 'auto' && !this.#backend.report.software);
  }

  /** Keeps measured plans, the fastest in wisdom as well. */
  learn(problem: Problem, measured: readonly GpuPlan[], effort: Effort): void {
    const sorted = [...measured].sort((a, b) => a.computeMs - b.computeMs);
    const [best] = sorted;
    if (!best) return;
    this.#measured.set(keyOf(problem), sorted);
    this.#planned.clear();
    const entry = { plan: best.plan, effort, ms: best.computeMs, at: Date.now() };
    this.#settings.wisdom.put(this.#wisdomKey(keyOf(problem)), entry);
  }

  #fromWisdom(problem: Problem): GpuPlan[] | undefined {
    const entry = this.#settings.wisdom.get(this.#wisdomKey(keyOf(problem)));
    const kernel = entry && findGpuKernel(entry.plan.kernel);
    if (entry?.ms === undefined || !kernel || !gpuServes(problem, kernel)) return undefined;
    if (!isOffered(kernel, this.#backend.report.features)) return undefined;
    return [{ plan: entry.plan, computeMs: entry.ms, isMeasured: true }];
  }

  /** What was measured on one GPU says nothing of another. */
  #wisdomKey(key: string): string {
    return `${this.#backend.report.name}: ${key}`;
  }

  quarantine(kernel: string, reason: string): void {
    if (this.#quarantined.has(kernel)) return;
    this.#quarantined.set(kernel, reason);
    this.#planned.clear();
    this.#settings.onEvent({ type: 'quarantine', kernel, reason });
  }

  /**
   * The plan by which a call runs on the GPU, or undefined where memory's own backend is cheaper. `hereMs` is asked for only where
   * it matters. @throws `E_FALLBACK` where policy is strict and the GPU was asked for but cannot do it.
   */
  claim(
    { problem: asked, empty, shape }: Asked,
    form: GpuForm | undefined,
    { result }: PlacedOptions,
    hereMs: () => number,
  ): GpuPlan | undefined {
    if (empty || this.#closed) return undefined;
    const problem = form ? storedProblem(asked, form) : asked;
    const [best] = form ? this.plans(problem) : [];
    if (!best || !form) {
      this.refuseHere(problem);
      return undefined;
    }
    // a processor that stands in for a GPU takes its time from the threads
    if (!this.isWelcome) return undefined;
    const tooLarge = this.#tooLarge(problem, form, best, 4 * sizeOf(shape));
    if (this.forced && tooLarge) throw tooLarge;
    if (this.forced) return best;
    if (tooLarge) return undefined;
    const ms = hereMs();
    const isHere = result !== 'gpu' && sourcesOf(form).every(({ remote }) => !remote);
    const split = isHere ? this.#split(problem, ms, best) : undefined;
    if (split) return split;
    const moves = this.#moves(form, 4 * sizeOf(shape), result);
    return placeCall(ms, best, moves, this.profile) === 'there' ? best : undefined;
  }

  /** @throws `E_FALLBACK` for what is computed in memory although the GPU was asked for, where policy is strict. */
  refuseHere(problem: Problem): void {
    if (this.forced && this.#settings.policy === 'strict') throw cannot(problem);
  }

  #split(problem: Problem, ms: number, best: GpuPlan): GpuPlan | undefined {
    return splitCall(problem, ms, best, this.profile);
  }

  /** Why a call is beyond what the device takes at once, or undefined. */
  #tooLarge(
    problem: Problem,
    form: GpuForm,
    { plan }: GpuPlan,
    resultBytes: number,
  ): TesseraeError | undefined {
    const largest = Math.max(resultBytes, ...sourcesOf(form).map(({ elements }) => 4 * elements));
    return this.beyond(problem, plan, largest);
  }

  /** Why a problem is beyond what the device takes at once, its largest operand being of so many bytes, or undefined. */
  beyond(problem: Problem, plan: Plan, largest: number): TesseraeError | undefined {
    const { buffers, mostGroups } = this.#backend;
    const [x, y] = this.launch(problem, plan).groups;
    const groups = Math.max(x, y);
    const most = { bytes: buffers.most, groups: mostGroups };
    if (buffers.fits(largest) && groups <= most.groups) return undefined;
    return new TesseraeError(
      'E_GPU_MEMORY',
      `${keyOf(problem)} is more than this GPU takes at once: ${largest} bytes in one buffer of at most ${most.bytes}, ${groups} workgroups in a row of at most ${most.groups}`,
      { problem: keyOf(problem), bytes: largest, groups, most },
      "Use backend 'auto' or 'wasm', or split the operands.",
    );
  }

  /** What is moved if the call is computed in memory, and if it is computed there. */
  #moves(form: GpuForm, resultBytes: number, result: PlacedOptions['result']): BothMoves {
    const sources = sourcesOf(form);
    const there = sources.filter((source) => valuesOn(this.#backend, source.remote));
    const isWantedHere = resultPlace(form, this.#backend, result) === 'wasm';
    return {
      here: {
        upload: isWantedHere ? 0 : resultBytes,
        download: bytesOf(sources.filter((source) => source.isAway)),
      },
      there: { upload: bytesOf(sources) - bytesOf(there), download: isWantedHere ? resultBytes : 0 },
    };
  }

  /** The plan of a call from memory to memory, where it goes here or is cut. */
  choose(problem: Problem, hereMs: number): GpuPlan | undefined {
    const [best] = this.plans(problem);
    if (!best || this.forced) return best;
    if (!this.isWelcome) return undefined;
    const moves = { here: { upload: 0, download: 0 }, there: allMoves(problem) };
    const isThere = placeCall(hereMs, best, moves, this.profile) === 'there';
    return this.#split(problem, hereMs, best) ?? (isThere ? best : undefined);
  }

  send(values: Float32Array): GpuValues {
    return new GpuValues(this.#backend, this.#backend.buffers.upload(values));
  }

  /** The same values in another storage. */
  async convert(remote: Remote, storage: Storage): Promise<GpuValues> {
    const backend = this.#backend;
    const values = valuesOn(backend, remote);
    if (!values) throw deviceLost('the values went with it');
    values.hold();
    try {
      await prepareHalves(backend);
      const elements = values.block.bytes / storedBytes(1, values.storage);
      return new GpuValues(backend, convert(backend, values.block, elements, storage), { storage });
    } finally {
      values.release();
    }
  }

  /** Opens the GPU again after a loss; false where that fails. */
  reopen(): Promise<boolean> {
    if (!this.#backend.lost) return Promise.resolve(true);
    this.#reopening ??= this.#reopen().finally(() => {
      this.#reopening = undefined;
    });
    return this.#reopening;
  }

  async #reopen(): Promise<boolean> {
    // the caller's own device cannot be opened again
    if (this.#closed || this.#settings.request.device) return false;
    try {
      const opened = await (this.#settings.open ?? openGpu)(this.#settings.request);
      this.#backend = new WebGpuBackend(opened, (reason) =>
        this.#settings.onEvent({ type: 'gpu-lost', reason }),
      );
      return true;
    } catch {
      return false;
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#backend.close();
  }
}

function bytesOf(sources: readonly { readonly elements: number }[]): number {
  return sources.reduce((sum, { elements }) => sum + 4 * elements, 0);
}

function cannot(problem: Problem): TesseraeError {
  return new TesseraeError(
    'E_FALLBACK',
    `the GPU was asked for, but it has no kernel for ${keyOf(problem)}`,
    { problem: keyOf(problem) },
    "Use policy 'auto', numerics 'fast' and operands that are not prepacked.",
  );
}

/** What is known of the adapter from earlier runtimes, or what a probe finds. A caller's device does not tell which adapter it is of. */
async function profileOf(backend: WebGpuBackend, { request, wisdom }: GpuSettings): Promise<GpuProfile> {
  if (request.device) return probe(backend);
  const { name, features } = backend.report;
  const id = `${name} (${features.join(' ')})`;
  const known = wisdom.gpu(id);
  const isWhole = probedGpuKernels(backend).every(({ name: row }) => known && row in known.kernelGflops);
  if (known && isWhole) return known;
  const profile = await probe(backend);
  wisdom.setGpu(id, profile);
  return profile;
}

function probe(backend: WebGpuBackend): Promise<GpuProfile> {
  const { software } = backend.report;
  return probeGpu(backend, {
    clock: systemClock,
    extent: software ? 256 : 2048,
    few: software ? 32 : 128,
    gathers: !software,
    kernelMs: software ? 1 : 20,
    moveBytes: software ? 4 * MiB : 64 * MiB,
    kernels: probedGpuKernels(backend),
  });
}
