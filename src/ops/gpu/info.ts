/** What a runtime says of its GPU. */
import type { Core } from '../core.ts';
import type { GpuReport } from '../types.ts';

export function gpuReport({ gpu }: Core): GpuReport | undefined {
  return gpu && { ...gpu.backend.report, profile: gpu.profile, memory: gpu.backend.buffers.use };
}

export function gpujsReason({ gpujs }: Core, absent: string): string {
  if (!gpujs) return absent;
  const { name, software, mode } = gpujs.report;
  return software
    ? `${name} by ${mode}: a processor that stands in for a GPU, used only with backend 'gpujs'`
    : `${name} by ${mode}`;
}

export function gpuReason({ gpu }: Core, absent: string): string {
  if (!gpu) return absent;
  const { name, software } = gpu.backend.report;
  return software ? `${name}: a processor that stands in for a GPU, used only with backend 'webgpu'` : name;
}
