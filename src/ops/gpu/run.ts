/** A call on the GPU: operands there, the kernel recorded, the result left there or brought back. */

import { type Blocks, deviceLost, isLoss, type WebGpuBackend } from '../../backends/webgpu/backend.ts';
import type { GpuBlock } from '../../backends/webgpu/buffers.ts';
import { abortReason } from '../../core/errors.ts';
import type { GpuPlan } from '../../plan/gpu.ts';
import { type Halves, isHalf } from '../../problem/halves.ts';
import { keyOf, resultElements } from '../../problem/problem.ts';
import { ConvWeights } from '../conv-weights.ts';
import type { Core } from '../core.ts';
import { type Request, readsOut } from '../request.ts';
import { DenseTensor, type Source } from '../tensor.ts';
import type { PlacedOptions, Tensor } from '../types.ts';
import { trusted } from './check.ts';
import { type GpuForm, resultPlace, sourcesOf } from './form.ts';
import type { GpuPlace } from './place.ts';
import { GpuValues, valuesOn } from './remote.ts';
import { halvesIn, storedProblem } from './stored.ts';

/** Undefined where the GPU was lost, did not come back, and everything is there to compute the call in memory. */
export async function runOnGpu(
  core: Core,
  place: GpuPlace,
  request: Request,
  plan: GpuPlan,
  options: PlacedOptions,
): Promise<Tensor | undefined> {
  const form = request.gpu!()!;
  const sources = sourcesOf(form);
  for (let attempt = 0; ; attempt++) {
    try {
      if (!(await trusted(core, place, storedProblem(request.problem, form), plan.plan))) return undefined;
      return await runOnce(core, place, request, form, plan, options);
    } catch (error) {
      // a runtime that was closed has no GPU either
      if (isLoss(error)) core.checkOpen('compute');
      const isReplayable = isLoss(error) && !sources.some((source) => source.isAway);
      if (!isReplayable) throw error;
      if (attempt > 0 || !(await place.reopen())) return undefined;
    }
  }
}

async function runOnce(
  core: Core,
  place: GpuPlace,
  request: Request,
  form: GpuForm,
  { plan }: GpuPlan,
  { signal, onProgress, result }: PlacedOptions,
): Promise<Tensor> {
  const { backend } = place;
  if (sourcesOf(form).some((source) => source.isAway && !valuesOn(backend, source.remote)))
    throw deviceLost('an operand went with it');
  const problem = storedProblem(request.problem, form);
  const launch = place.launch(problem, plan);
  const pipeline = await backend.pipeline(launch);
  if (signal?.aborted) throw abortReason(signal);
  core.checkOpen('compute');
  const sources = { a: form.a, b: form.b, bias: form.bias, slope: form.slope, c0: form.residual };
  const stays = resultPlace(form, backend, result) === 'gpu';
  const bytes = 4 * resultElements(request.problem);
  const lent: { blocks?: Lent } = {};
  const old = readsOut(request) ? request.out : undefined;
  const made = backend.watched(`${keyOf(problem)} by ${plan.kernel} kc=${plan.kc}`, () => {
    lent.blocks = lend(backend, sources, { halves: halvesIn(problem), old, bytes });
    backend.record(launch, pipeline, lent.blocks.blocks, form.scalars);
    lent.blocks.release();
  });
  // what failed at once has lent nothing
  if (!lent.blocks) await made;
  const values = new GpuValues(backend, lent.blocks!.blocks.c!, { made });
  try {
    const tensor = await deliver(core, request, values, stays);
    if (signal?.aborted) throw abortReason(signal);
    onProgress?.({ phase: 'run', done: 1, total: 1 });
    return tensor;
  } catch (error) {
    values.dispose();
    throw error;
  }
}

/** The result as a tensor: the caller's own or a new one, which is gone again where anything fails. */
async function deliver(core: Core, request: Request, values: GpuValues, stays: boolean): Promise<Tensor> {
  const { out } = request;
  if (stays) {
    if (!out) return new DenseTensor(core.heap, request.shape, 'f32', values);
    out.check('fill');
    out.changedThere(values);
    return out;
  }
  const tensor = out ?? new DenseTensor(core.heap, request.shape);
  const block = tensor.ensureBlock();
  block.hold();
  try {
    await values.fetch(() =>
      core.heap.floats().subarray(block.address >>> 2, (block.address >>> 2) + tensor.size),
    );
    tensor.check('fill');
    tensor.changedHere();
    values.dispose();
    return tensor;
  } catch (error) {
    if (!out) tensor.dispose();
    throw error;
  } finally {
    block.release();
  }
}

interface Lent {
  readonly blocks: Blocks;
  release(): void;
}

type Sources = Readonly<Record<'a' | 'b' | 'bias' | 'slope' | 'c0', Source | undefined>>;

interface Wanted {
  /** Operands that the shader takes as halves; others are widened. */
  readonly halves: Halves;
  /** The tensor whose values the kernel finds where it puts the result. */
  readonly old: DenseTensor | undefined;
  /** Bytes of the result. */
  readonly bytes: number;
}

/** Blocks with the operands' values, and one for the result. */
function lend(backend: WebGpuBackend, sources: Sources, { halves, old, bytes }: Wanted): Lent {
  const blocks: Record<string, GpuBlock> = {};
  const temporary: GpuBlock[] = [];
  // what is recorded from now on comes later
  const release = () => {
    for (const block of temporary) backend.buffers.giveBack(block);
  };
  try {
    place();
    return { blocks, release };
  } catch (error) {
    release();
    throw error;
  }

  function place(): void {
    for (const [name, source] of Object.entries(sources)) {
      if (!source) continue;
      const there = valuesOn(backend, source.remote);
      if (there) {
        const isTaken = (name === 'a' || name === 'b') && isHalf(halves, name);
        const { block, isOwn } = isTaken ? { block: there.block, isOwn: true } : there.floats();
        blocks[name] = block;
        if (!isOwn) temporary.push(block);
        continue;
      }
      const block = backend.buffers.upload(source.values());
      blocks[name] = block;
      if (source instanceof ConvWeights) source.keep(new GpuValues(backend, block));
      else temporary.push(block);
    }
    const oldThere = old && valuesOn(backend, old.remote);
    if (oldThere) {
      const { block, isOwn } = oldThere.floats();
      blocks.c = isOwn ? backend.buffers.take(bytes) : block;
      if (isOwn) backend.copy(block, blocks.c);
    } else blocks.c = old ? backend.buffers.upload(old.data) : backend.buffers.take(bytes);
  }
}
