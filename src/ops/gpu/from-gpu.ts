/** Tensors over buffers of the caller's, and buffers of tensors. */

import { deviceLost } from '../../backends/webgpu/backend.ts';
import { TesseraeError } from '../../core/errors.ts';
import { checkShape, showShape, sizeOf } from '../../core/shape.ts';
import type { GpuBuffer } from '../../core/webgpu.ts';
import { badArgument } from '../arguments.ts';
import type { Core } from '../core.ts';
import { checkTensor } from '../operands.ts';
import { DenseTensor } from '../tensor.ts';
import type { Tensor } from '../types.ts';
import { GpuValues, valuesOn } from './remote.ts';

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

export async function gpuBufferOf(core: Core, tensor: Tensor): Promise<GpuBuffer> {
  core.checkOpen('give a buffer');
  const { backend } = core.needGpu();
  if (!(tensor instanceof DenseTensor)) throw badArgument('tensor', tensor, 'A tensor of this runtime.');
  checkTensor(core.heap, tensor, 'tensor');
  await tensor.to('gpu');
  const values = valuesOn(backend, tensor.remote);
  if (!values) throw deviceLost('its values went with it');
  // what the caller submits comes behind what is recorded
  backend.flush();
  return values.block.buffer;
}
