/** What a runtime says of its GPU. */
import type { Core } from '../core.ts';
import type { GpuReport } from '../types.ts';

export function gpuReport({ gpu }: Core): GpuReport | undefined {
  return gpu && { ...gpu.backend.report, profile: gpu.profile, memory: gpu.backend.buffers.use };
}

export function gpuReason({ gpu }: Core, absent: string): string {
  if (!gpu) return absent;
  const { name, software } = gpu.backend.report;
  return software ? `${name}: a processor that stands in for a GPU, used only with backend 'webgpu'` : name;
}
