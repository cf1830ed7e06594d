/**
 * One product on both sides at once: the GPU computes the upper rows, the threads the lower ones, and they end together where the plan's
 * share was right. The result is the same as that of either side alone, to its last bits' rounding.
 */

import { isLoss, type WebGpuBackend } from '../../backends/webgpu/backend.ts';
import type { GpuBlock } from '../../backends/webgpu/buffers.ts';
import type { Launch } from '../../backends/webgpu/launch.ts';
import type { GpuPipeline } from '../../core/webgpu.ts';
import type { Plan } from '../../plan/plan.ts';
import type { MatmulProblem } from '../../problem/matmul.ts';
import type { Operands } from '../../schedule/execute.ts';
import type { Core } from '../core.ts';
import { Placement } from '../placement.ts';
import type { Request } from '../request.ts';
import type { PlacedOptions, Tensor } from '../types.ts';
import { trusted } from './check.ts';
import { launchFor } from './launch.ts';
import type { GpuPlace } from './place.ts';

/** The operands of the rows from `first` on. */
function from(operands: Operands, p: MatmulProblem, first: number): Operands {
  const { a, c, bias } = operands;
  return {
    ...operands,
    a: a + 4 * first * p.k,
    c: c + 4 * first * p.n,
    bias: p.bias === 'column' ? bias + 4 * first : bias,
  };
}

/** Undefined where the shader may not be trusted here: the call then goes on in memory. */
export async function runSplit(
  core: Core,
  place: GpuPlace,
  request: Request,
  plan: Plan,
  options: PlacedOptions,
): Promise<Tensor | undefined> {
  const p = request.problem as MatmulProblem;
  const rows = Math.round(plan.share! * p.m);
  const upper = { ...p, m: rows };
  if (!(await trusted(core, place, upper, plan))) return undefined;
  const launch = launchFor(upper, plan.kernel);
  const pipeline = await place.backend.pipeline(launch);
  core.checkOpen('compute');
  options.signal?.throwIfAborted();
  const placed = new Placement(core, request);
  let failed = true;
  try {
    const address = placed.out.block.address;
    const compute = async (problem: MatmulProblem, first: number) => {
      const planned = core.plan(problem);
      if (!planned) throw new Error('no kernel for the rest of the rows');
      const operands = from(request.operands(core, planned, placed.at, address), p, first);
      await core.executor.run(planned, operands, { signal: options.signal });
    };
    const operands = request.operands(core, undefined, placed.at, address);
    const [there, here] = await Promise.allSettled([
      upperRows(core, place.backend, launch, pipeline, upper, operands),
      compute({ ...p, m: p.m - rows }, rows),
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

/** Everything up to the submit happens before this returns, so that the GPU is at work while the threads begin. */
async function upperRows(
  core: Core,
  backend: WebGpuBackend,
  launch: Launch,
  pipeline: GpuPipeline,
  p: MatmulProblem,
  { a, b, bias, slope, c, alpha, beta, p0, p1 }: Operands,
): Promise<void> {
  const view = (address: number, elements: number) =>
    core.heap.floats().subarray(address >> 2, (address >> 2) + elements);
  const taken: GpuBlock[] = [];
  const send = (address: number, elements: number) => {
    const block = backend.buffers.upload(view(address, elements));
    taken.push(block);
    return block;
  };
  let reading: Promise<void> | undefined;
  try {
    await backend.watched(launch.key, () => {
      const result = backend.buffers.take(4 * p.m * p.n);
      taken.push(result);
      const blocks = {
        a: send(a, p.m * p.k),
        b: send(b, p.k * p.n),
        c: result,
        ...(p.bias === 'none' ? {} : { bias: send(bias, p.bias === 'row' ? p.n : p.m) }),
        ...(p.activation === 'prelu' ? { slope: send(slope, p.n) } : {}),
      };
      backend.record(launch, pipeline, blocks, { alpha, beta, p0, p1 });
      reading = backend.download(result, () => view(c, p.m * p.n));
      reading.catch(() => undefined);
    });
    await reading;
  } finally {
    if (!backend.lost) for (const block of taken) backend.buffers.giveBack(block);
  }
}
