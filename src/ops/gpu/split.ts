/**
 * One call on both sides at once: the GPU computes the first rows, channels or images, the threads the rest, and they end together where the
 * plan's share was right. The result is the same as that of either side alone, to its last bits' rounding.
 */

import { isLoss, type WebGpuBackend } from '../../backends/webgpu/backend.ts';
import type { GpuBlock } from '../../backends/webgpu/buffers.ts';
import type { Launch } from '../../backends/webgpu/launch.ts';
import type { GpuPipeline } from '../../core/webgpu.ts';
import { type Cut, type CutProblem, cutOf, type Share } from '../../plan/cut.ts';
import type { Plan } from '../../plan/plan.ts';
import { keyOf } from '../../problem/problem.ts';
import type { Operands } from '../../schedule/operands.ts';
import type { Core } from '../core.ts';
import { Placement } from '../placement.ts';
import type { Request } from '../request.ts';
import type { PlacedOptions, Tensor } from '../types.ts';
import { trusted } from './check.ts';
import type { GpuPlace } from './place.ts';

/** The operands of what follows the first units. */
function from(operands: Operands, { shares }: Cut, first: number): Operands {
  const moved = Object.entries(shares).map(([name, { stride }]) => [
    name,
    operands[name as keyof typeof shares]! + 4 * stride * first,
  ]);
  return { ...operands, ...Object.fromEntries(moved) };
}

/** Undefined where the shader may not be trusted here: the call then goes on in memory. */
export async function runSplit(
  core: Core,
  place: GpuPlace,
  request: Request,
  plan: Plan,
  options: PlacedOptions,
): Promise<Tensor | undefined> {
  const cut = cutOf(request.problem)!;
  const units = Math.round(plan.share! * cut.units);
  const upper = cut.part(units);
  if (!(await trusted(core, place, upper, plan))) return undefined;
  const launch = place.launch(upper, plan);
  const name = `${keyOf(upper)} by ${plan.kernel} kc=${plan.kc}`;
  const pipeline = await place.backend.pipeline(launch);
  core.checkOpen('compute');
  options.signal?.throwIfAborted();
  const placed = new Placement(core, request);
  let failed = true;
  try {
    const address = placed.out.block.address;
    const compute = async (problem: CutProblem, first: number) => {
      const planned = core.plan(problem);
      if (!planned) throw new Error('no kernel for the rest');
      const operands = from(request.operands(core, planned, placed.at, address), cut, first);
      await core.executor.run(planned, operands, {
        signal: options.signal,
        priority: options.priority,
      });
    };
    const operands = request.operands(core, undefined, placed.at, address);
    const [there, here] = await Promise.allSettled([
      firstUnits(core, place.backend, { name, launch, pipeline, cut, units, operands }),
      compute(cut.part(cut.units - units), units),
    ]);
    if (here.status === 'rejected') throw here.reason;
    if (there.status === 'rejected') {
      if (!isLoss(there.reason)) throw there.reason;
      // the threads can do what the GPU left undone
      await compute(upper, 0);
    }
    options.onProgress?.({ phase: 'run', done: 1, total: 1 });
    failed = false;
    return placed.out;
  } finally {
    placed.release(failed);
  }
}

interface FirstPart {
  /** The part and its kernel, for whoever hears that the device refused them. */
  readonly name: string;
  readonly launch: Launch;
  readonly pipeline: GpuPipeline;
  readonly cut: Cut;
  readonly units: number;
  readonly operands: Operands;
}

/** Everything up to the submit happens before this returns, so that the GPU is at work while the threads begin. */
async function firstUnits(
  core: Core,
  backend: WebGpuBackend,
  { name, launch, pipeline, cut, units, operands }: FirstPart,
): Promise<void> {
  const { alpha, beta, p0, p1 } = operands;
  const { c, ...read } = cut.shares;
  const elements = ({ fixed, stride }: Share) => fixed + stride * units;
  const view = (address: number, count: number) =>
    core.heap.floats().subarray(address >>> 2, (address >>> 2) + count);
  const taken: GpuBlock[] = [];
  const kept = (block: GpuBlock) => {
    taken.push(block);
    return block;
  };
  let reading: Promise<void> | undefined;
  try {
    await backend.watched(name, () => {
      const result = kept(backend.buffers.take(4 * elements(c)));
      const sent = Object.entries(read).map(([name, share]) => {
        const values = view(operands[name as keyof typeof read]!, elements(share));
        return [name, kept(backend.buffers.upload(values))];
      });
      const blocks = { ...Object.fromEntries(sent), c: result };
      backend.record(launch, pipeline, blocks, { alpha, beta, p0, p1 });
      reading = backend.download(result, () => view(operands.c, elements(c)));
      reading.catch(() => undefined);
    });
    await reading;
  } finally {
    if (!backend.lost) for (const block of taken) backend.buffers.giveBack(block);
  }
}
