/** Values kept as halves: made from floats and widened again on the device. */
import { ceilDiv } from '../../core/math.ts';
import type { WebGpuBackend } from './backend.ts';
import type { GpuBlock } from './buffers.ts';
import { type Launch, NO_EXTENTS } from './launch.ts';
import { HALVES_THREADS, NARROW_SOURCE, WIDEN_SOURCE } from './wgsl/halves.ts';

export type Storage = 'f32' | 'f16';

const ONCE = { alpha: 1, beta: 0, p0: 0, p1: 0 } as const;
/** Threads go on to further elements beyond these. */
const GROUPS_MOST = 4096;

/** Bytes of as many elements. */
export function bytesOf(elements: number, storage: Storage): number {
  return storage === 'f16' ? 2 * elements : 4 * elements;
}

function launchOf(to: Storage, elements: number): Launch {
  const vectors = ceilDiv(elements, 4);
  return {
    key: to === 'f16' ? 'narrow' : 'widen',
    source: () => (to === 'f16' ? NARROW_SOURCE : WIDEN_SOURCE),
    bindings: ['params', 'a', 'c'],
    groups: [Math.min(GROUPS_MOST, Math.max(1, ceilDiv(vectors, HALVES_THREADS))), 1],
    products: 1,
    params: { ...NO_EXTENTS, n: vectors },
    table: undefined,
  };
}

/** To be awaited before `convert`. */
export async function prepareHalves(backend: WebGpuBackend): Promise<void> {
  for (const to of ['f16', 'f32'] as const) await backend.pipeline(launchOf(to, 1));
}

/** Records the conversion of a block's values from the other storage into a new block. */
export function convert(backend: WebGpuBackend, from: GpuBlock, elements: number, to: Storage): GpuBlock {
  const launch = launchOf(to, elements);
  const pipeline = backend.pipeline(launch);
  if (pipeline instanceof Promise) throw new Error('halves were not prepared');
  const into = backend.buffers.take(bytesOf(elements, to));
  // a caller's own buffer may end within the last vector
  const isShort = from.buffer.size < 16 * ceilDiv(elements, 4);
  const a = isShort ? backend.buffers.take(from.bytes) : from;
  if (isShort) backend.copy(from, a);
  backend.record(launch, pipeline, { a, c: into }, ONCE);
  if (isShort) backend.buffers.giveBack(a);
  return into;
}
