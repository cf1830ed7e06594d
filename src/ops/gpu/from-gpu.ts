/** Tensors over buffers of the caller's. */

import { TesseraeError } from '../../core/errors.ts';
import { checkShape, showShape, sizeOf } from '../../core/shape.ts';
import type { GpuBuffer } from '../../core/webgpu.ts';
import { badArgument } from '../arguments.ts';
import type { Core } from '../core.ts';
import { DenseTensor } from '../tensor.ts';
import type { Tensor } from '../types.ts';
import { GpuValues } from './remote.ts';

export function fromGpu(core: Core, buffer: GpuBuffer, shape: readonly number[]): Tensor {
  core.checkOpen('make a tensor');
  const { backend } = core.needGpu();
  const checked = checkShape(shape, 'fromGpu');
  if (typeof buffer?.mapAsync !== 'function')
    throw badArgument('buffer', buffer, 'A GPUBuffer of rt.gpuDevice.');
  const bytes = 4 * sizeOf(checked);
  if (buffer.size < bytes)
    throw new TesseraeError(
      'E_SHAPE',
      `the buffer has ${buffer.size} bytes, the shape ${showShape(checked)} needs ${bytes}`,
      { bytes: buffer.size, needed: bytes, shape: checked },
      'Elements are floats of four bytes, side by side.',
    );
  return new DenseTensor(
    core.heap,
    checked,
    'f32',
    new GpuValues(backend, { buffer, bytes }, { giveBack: () => undefined }),
  );
}
