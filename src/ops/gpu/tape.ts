/**
 * A recorded run on the GPU. Every block of memory that its steps touch has a mirror there; a step goes there where a kernel serves it,
 * the others stay on the threads, and blocks are moved where a step needs what the other side has written. All of that is decided once.
 */
import type { Address, Stored } from '../../backends/types.ts';
import type { Blocks, WebGpuBackend } from '../../backends/webgpu/backend.ts';
import type { GpuBlock } from '../../backends/webgpu/buffers.ts';
import { boundTo, type Launch } from '../../backends/webgpu/launch.ts';
import type { Scalars } from '../../backends/webgpu/wgsl/params.ts';
import { hashText } from '../../core/hash.ts';
import type { GpuPipeline } from '../../core/webgpu.ts';
import { type Leg, legsOf, type Traveller } from '../../plan/travel.ts';
import { isArrayProblem, keyOf, type Problem } from '../../problem/problem.ts';
import type { AsyncControl, LinkedCalls } from '../../schedule/execute.ts';
import type { Operands } from '../../schedule/operands.ts';
import type { Core } from '../core.ts';
import { unpackedB } from '../panels.ts';
import type { Tape, TapeStep } from '../tape.ts';
import { keptBytes, withKept } from '../weight-store.ts';
import { trusted } from './check.ts';
import type { GpuPlace } from './place.ts';

/** What is to take no longer between two stretches on the GPU is the calling thread's: the others sleep, and waking them takes as long. */
const ALONE_MS = 0.1;
const OPERANDS = ['a', 'b', 'c', 'bias', 'slope', 'c0'] as const;
type OperandName = (typeof OPERANDS)[number];

/** A step's dispatch, ready to be recorded. */
interface Dispatch {
  readonly launch: Launch;
  readonly pipeline: GpuPipeline;
  readonly blocks: Blocks;
  readonly scalars: Scalars;
}

/** What a step would be on the GPU, before memory is taken for it. */
interface Served {
  readonly step: TapeStep;
  readonly problem: Problem;
  readonly launch: Launch;
}

export class GpuTape {
  readonly #core: Core;
  readonly #backend: WebGpuBackend;
  readonly #tape: Tape;
  readonly #steps: readonly TapeStep[];
  readonly #legs: readonly Leg[];
  readonly #dispatches: ReadonlyMap<number, Dispatch>;
  readonly #mirrors: ReadonlyMap<Address, GpuBlock>;
  readonly #linked = new Map<Leg, LinkedCalls>();
  readonly #name: string;

  private constructor(parts: Parts, legs: readonly Leg[], dispatches: ReadonlyMap<number, Dispatch>) {
    this.#core = parts.core;
    this.#backend = parts.backend;
    this.#tape = parts.tape;
    this.#steps = parts.tape.steps.map((step, index) => parts.served.get(index)?.step ?? step);
    this.#legs = legs;
    this.#dispatches = dispatches;
    this.#mirrors = parts.mirrors;
    this.#name = nameOf(parts.tape);
  }

  /**
   * Undefined where the GPU serves none of the steps. `given` are the tensors that are written here before each run, `wanted` those that
   * are read here after it. @throws `E_FALLBACK` where policy is strict and the GPU was asked for but cannot do all of it.
   */
  static async make(
    core: Core,
    place: GpuPlace,
    tape: Tape,
    given: readonly Address[],
    wanted: readonly Address[],
  ): Promise<GpuTape | undefined> {
    const { backend } = place;
    const served = new Map<number, Served>();
    for (const [index, step] of tape.steps.entries()) {
      const there = await serve(core, place, tape, step);
      if (there) served.set(index, there);
      else place.refuseHere(step.execution.problem);
    }
    if (served.size === 0) return undefined;
    const parts: Parts = { core, backend, tape, served, mirrors: new Map() };
    const travellers = tape.steps.map((step, index) => traveller(parts, step, served.get(index)));
    const bases = (addresses: readonly Address[]) =>
      addresses.flatMap((address) => blockAt(parts, address)?.base ?? []);
    const legs = legsOf(travellers, bases(given), bases(wanted), (base) => !tape.owns(base));
    const dispatches = new Map<number, Dispatch>();
    try {
      const pipelines = new Map<number, GpuPipeline>();
      for (const [index, { launch }] of served) pipelines.set(index, await backend.pipeline(launch));
      await backend.watched(`${nameOf(tape)}: memory`, () => {
        for (const [index, one] of served)
          dispatches.set(index, dispatchOf(parts, one, pipelines.get(index)!));
        for (const leg of legs)
          for (const base of leg.kind === 'there' ? leg.up : leg.down) mirror(parts, base);
      });
      return new GpuTape(parts, legs, dispatches);
    } catch (error) {
      giveBack(backend, parts.mirrors);
      throw error;
    }
  }

  /** Runs all steps on what lies in the given tensors. @throws `E_GPU_LOST`, after which it is of no use any more. */
  async run({ signal, onProgress, priority }: AsyncControl): Promise<void> {
    const total = this.#steps.length;
    let done = 0;
    let waiting: Leg[] = [];
    const send = () => {
      const legs = waiting;
      waiting = [];
      return this.#backend.watched(`${this.#name}, from step ${done - legs.length}`, () => {
        for (const leg of legs) this.#record(leg);
      });
    };
    for (const leg of this.#legs) {
      signal?.throwIfAborted();
      this.#core.checkOpen('compute');
      if (leg.kind === 'there') {
        waiting.push(leg);
        done++;
        continue;
      }
      if (waiting.length > 0) await send();
      await this.#bring(leg.down);
      await this.#runHere(leg, { signal, priority });
      done += leg.steps.length;
      onProgress?.(done, total);
    }
    if (waiting.length > 0) {
      await send();
      await this.#backend.settle();
    }
    signal?.throwIfAborted();
    onProgress?.(total, total);
  }

  /** Runs them one by one, to find out what each takes. */
  async runEach(each: (step: TapeStep, ms: number, backend: 'wasm' | 'webgpu') => void): Promise<void> {
    for (const leg of this.#legs) {
      if (leg.kind === 'there') {
        await this.#backend.settle();
        const start = performance.now();
        this.#record(leg);
        await this.#backend.settle();
        each(this.#steps[leg.step]!, performance.now() - start, 'webgpu');
        continue;
      }
      await this.#bring(leg.down);
      for (const index of leg.steps) {
        const step = this.#steps[index]!;
        const start = performance.now();
        const pending = this.#core.executor.run(step.execution, step.operands, {});
        if (pending) await pending;
        each(step, performance.now() - start, 'wasm');
      }
    }
  }

  /** Gives all memory on the device back. */
  release(): void {
    for (const linked of this.#linked.values()) linked.release();
    this.#linked.clear();
    giveBack(this.#backend, this.#mirrors);
  }

  #record(leg: Leg): void {
    if (leg.kind !== 'there') return;
    for (const base of leg.up) this.#backend.buffers.write(this.#mirrors.get(base)!, this.#view(base));
    const { launch, pipeline, blocks, scalars } = this.#dispatches.get(leg.step)!;
    this.#backend.record(launch, pipeline, blocks, scalars);
  }

  async #bring(bases: readonly Address[]): Promise<void> {
    await Promise.all(
      bases.map((base) => this.#backend.download(this.#mirrors.get(base)!, () => this.#view(base))),
    );
    this.#core.checkOpen('compute');
  }

  async #runHere(leg: Leg & { readonly kind: 'here' }, control: AsyncControl): Promise<void> {
    if (leg.steps.length === 0) return;
    let linked = this.#linked.get(leg);
    if (!linked) {
      const steps = leg.steps.map((index) => this.#steps[index]!);
      const ms = steps.reduce((sum, { execution }) => sum + execution.ms, 0);
      linked = this.#core.executor.link(steps, undefined, ms <= ALONE_MS ? 1 : undefined);
      this.#linked.set(leg, linked);
    }
    const pending = this.#core.executor.runLinked(linked, control);
    if (pending) await pending;
  }

  #view(base: Address): Float32Array {
    return this.#core.backend.view(base, Math.floor(this.#tape.blockOf(base)!.bytes / 4));
  }
}

/** What the device is watched by: equal names are the same work. */
function nameOf({ steps }: Tape): string {
  const keys = steps.map(({ execution }) => execution.key).join('\n');
  return `a recorded run of ${steps.length} steps (${hashText(keys)})`;
}

interface Parts {
  readonly core: Core;
  readonly backend: WebGpuBackend;
  readonly tape: Tape;
  readonly served: ReadonlyMap<number, Served>;
  readonly mirrors: Map<Address, GpuBlock>;
}

function giveBack(backend: WebGpuBackend, mirrors: ReadonlyMap<Address, GpuBlock>): void {
  if (!backend.lost) for (const block of mirrors.values()) backend.buffers.giveBack(block);
}

/** The block that an address lies in; undefined for what is no operand's. */
function blockAt(
  { core, tape }: Pick<Parts, 'core' | 'tape'>,
  address: Address | undefined,
): Stored | undefined {
  if (!address) return undefined;
  return tape.blockOf(address) ?? lastingBlock(core, address);
}

function lastingBlock(core: Core, address: Address): Stored | undefined {
  const kept = keptBytes(core.heap, address);
  return kept === undefined ? core.backend.blockAt(address) : { base: address, bytes: kept };
}

/** Panels are of no use there: B is taken as it was before it was packed. */
function plainProblem(problem: Problem): Problem {
  return problem.op === 'matmul' && problem.panel
    ? { ...problem, panel: undefined, prepackedB: false, transposeB: false }
    : problem;
}

/** The best plan of the GPU's for a step whose shader has passed its check; undefined where there is none. */
async function serve(core: Core, place: GpuPlace, tape: Tape, step: TapeStep): Promise<Served | undefined> {
  const { operands } = step;
  const problem = plainProblem(step.execution.problem);
  const blocks = OPERANDS.flatMap((name) => blockAt({ core, tape }, operands[name]) ?? []);
  const target = blockAt({ core, tape }, operands.c);
  const isMoved = problem.op === 'move';
  // only moves begin in the middle of a block, and nothing is written where it is read
  for (const name of OPERANDS) {
    const block = blockAt({ core, tape }, operands[name]);
    if (block && block.base !== operands[name] && !isMoved) return undefined;
    if (block && name !== 'c' && block.base === target?.base) return undefined;
  }
  const largest = Math.max(0, ...blocks.map(({ bytes }) => bytes));
  for (const { plan, computeMs } of place.plans(problem)) {
    if (place.beyond(problem, plan, largest)) continue;
    if (!(await trusted(core, place, problem, plan))) continue;
    const execution = { key: keyOf(problem), problem: step.execution.problem, plan, ms: computeMs };
    return { step: { ...step, execution }, problem, launch: place.launch(problem, plan) };
  }
  return undefined;
}

function traveller(parts: Parts, { operands, execution }: TapeStep, served: Served | undefined): Traveller {
  const { problem } = execution;
  const named = OPERANDS.filter((name) => name !== 'c' && (!served || bindsTo(served, name)));
  const reads = named.flatMap((name) => blockAt(parts, operands[name])?.base ?? []);
  const keeps = problem.op === 'move' || (problem.op === 'matmul' && problem.accumulate);
  return { isThere: served !== undefined, reads, writes: blockAt(parts, operands.c)!.base, keeps };
}

function bindsTo({ launch }: Served, name: OperandName): boolean {
  return boundTo(launch).includes(name);
}

/** The mirror of a block; what lasts is sent there now. */
function mirror({ core, backend, tape, mirrors }: Parts, base: Address): GpuBlock {
  const known = mirrors.get(base);
  if (known) return known;
  const bytes = tape.blockOf(base)?.bytes;
  const made =
    bytes === undefined
      ? withKept(core.heap, base, (at) =>
          backend.buffers.upload(core.backend.view(at, Math.ceil(lastingBlock(core, base)!.bytes / 4))),
        )
      : backend.buffers.take(bytes);
  mirrors.set(base, made);
  return made;
}

function dispatchOf(parts: Parts, served: Served, pipeline: GpuPipeline): Dispatch {
  const { core, backend, mirrors } = parts;
  const { operands, execution } = served.step;
  const blocks: Partial<Record<OperandName, GpuBlock>> = {};
  for (const name of OPERANDS) {
    if (!bindsTo(served, name)) continue;
    const packed = name === 'b' && execution.problem !== served.problem && operands.packedB;
    if (packed) {
      const known = mirrors.get(packed) ?? backend.buffers.upload(unpackedB(core, execution.problem, packed));
      mirrors.set(packed, known);
      blocks.b = known;
    } else blocks[name] = mirror(parts, blockAt(parts, operands[name])!.base);
  }
  return { launch: placed(parts, served, operands), pipeline, blocks, scalars: operands };
}

/** Moves may begin in the middle of a block. */
function placed(parts: Parts, { launch, problem }: Served, operands: Operands): Launch {
  if (!isArrayProblem(problem) || problem.op !== 'move') return launch;
  const offset = (address: Address) => (address - blockAt(parts, address)!.base) / 4;
  const offsets = { offsetA: offset(operands.a), offsetC: offset(operands.c) };
  return { ...launch, params: { ...launch.params, ...offsets } };
}
