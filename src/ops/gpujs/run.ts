/** A call through gpu.js: copies of the operands go there, and the result is written to memory. */
import type { GatherProblem } from '../../backends/gpujs/texts.ts';
import { abortReason } from '../../core/errors.ts';
import type { Core } from '../core.ts';
import type { GpuForm } from '../gpu/form.ts';
import { Placement } from '../placement.ts';
import type { Request } from '../request.ts';
import type { PlacedOptions, Tensor } from '../types.ts';
import type { GpuJsPlace } from './place.ts';

/** Undefined where gpu.js has no right answer: the call is then computed in memory. */
export async function runOnGpuJs(
  core: Core,
  place: GpuJsPlace,
  request: Request,
  options: PlacedOptions,
): Promise<Tensor | undefined> {
  const p = request.problem as GatherProblem;
  const form = request.gpu!()!;
  const placed = new Placement(core, request);
  let failed = true;
  try {
    const values = await place.answer(p, form.scalars, arraysOf(p, form));
    if (options.signal?.aborted) throw abortReason(options.signal);
    if (!values) return undefined;
    core.checkOpen('compute');
    core.heap.floats().set(values, placed.out.block.address >>> 2);
    options.onProgress?.({ phase: 'run', done: 1, total: 1 });
    failed = false;
    return placed.out;
  } finally {
    placed.release(failed);
  }
}

/** Copies that are not shared: drivers do not take views of shared memory. */
function arraysOf(p: GatherProblem, { a, b, bias }: GpuForm): Float32Array[] {
  const first = a.values().slice();
  if (p.op === 'pool') return [first];
  const second = b!.values().slice();
  // weights are a product's left side where channels are rows
  const sides = p.op === 'conv' && p.layout === 'nchw' ? [second, first] : [first, second];
  return [...sides, bias ? bias.values().slice() : new Float32Array(1)];
}
