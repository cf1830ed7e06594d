/**
 * The GPU rows: one WGSL shader each, made from a template when a pipeline is wanted (src/backends/webgpu/wgsl). A row says how
 * the work is cut; how operands lie (transposed, in vectors of four, patches of an image) is the problem's and belongs to the
 * pipeline's key. Names as of the other kernels: `f32_gemm_64x64x16_4x4__wgsl` has tiles of 64 x 64 of the result, 16 steps of k
 * in workgroup memory, and 4 x 4 elements a thread.
 */

import type { MapKind } from '../problem/map.ts';
import type { Problem } from '../problem/problem.ts';

export interface GpuGemm {
  readonly name: string;
  readonly family: 'gpu-gemm';
  /** A workgroup's part of the result, and how much of k it holds at a time. */
  readonly tileM: number;
  readonly tileN: number;
  readonly tileK: number;
  /** A thread's part; columns are whole vectors. */
  readonly threadM: number;
  readonly threadN: number;
}

export interface GpuDepthwise {
  readonly name: string;
  readonly family: 'gpu-depthwise';
}

/** One shader for each function of elements, of lines, and for moves. */
export interface GpuArray {
  readonly name: string;
  readonly family: 'gpu-map' | 'gpu-lines' | 'gpu-move';
}

export type GpuKernel = GpuGemm | GpuDepthwise | GpuArray;

type Shape = readonly [tileM: number, tileN: number, tileK: number, threadM: number, threadN: number];

/**
 * All of them run within WebGPU's default limits: 256 threads and 16 KiB of workgroup memory. Large tiles reuse more of what they
 * load, small ones fill the machine where the result is small.
 */
const GEMM_SHAPES: readonly Shape[] = [
  [32, 32, 16, 2, 4],
  [32, 64, 16, 4, 4],
  [64, 64, 16, 4, 4],
  [64, 128, 16, 8, 4],
  [128, 64, 16, 8, 4],
  [128, 128, 8, 8, 8],
  [128, 128, 16, 8, 8],
];

function gemmRow([tileM, tileN, tileK, threadM, threadN]: Shape): GpuGemm {
  return {
    name: `f32_gemm_${tileM}x${tileN}x${tileK}_${threadM}x${threadN}__wgsl`,
    family: 'gpu-gemm',
    tileM,
    tileN,
    tileK,
    threadM,
    threadN,
  };
}

export const GPU_KERNELS: readonly GpuKernel[] = [
  ...GEMM_SHAPES.map(gemmRow),
  { name: 'f32_dw_1x4__wgsl', family: 'gpu-depthwise' },
  { name: 'f32_map_1x4__wgsl', family: 'gpu-map' },
  { name: 'f32_lines_256__wgsl', family: 'gpu-lines' },
  { name: 'f32_move_1x4__wgsl', family: 'gpu-move' },
];

export function findGpuKernel(name: string): GpuKernel | undefined {
  return GPU_KERNELS.find((kernel) => kernel.name === name);
}

/** Threads of a workgroup, along the columns and along the rows of its tile. */
export function threadsOf({ tileM, tileN, threadM, threadN }: GpuGemm): readonly [x: number, y: number] {
  return [tileN / threadN, tileM / threadM];
}

/** Bytes of workgroup memory: one tile of each operand. */
export function workgroupBytes({ tileM, tileN, tileK }: GpuGemm): number {
  return 4 * tileK * (tileM + tileN);
}

/** Functions that WGSL promises too little of: powers and trigonometry are allowed errors that f32 would show, and there need be no NaN. */
const NOT_ON_GPU: ReadonlySet<MapKind> = new Set<MapKind>([
  ...(['pow', 'mod', 'fmod', 'sin', 'cos', 'tan', 'asin', 'acos', 'atan', 'sinh', 'cosh'] as const),
  ...(['asinh', 'acosh', 'atanh', 'isNaN', 'isInf'] as const),
]);

/** Whether a row can compute a problem. Grouped channels side by side (NHWC) are columns that are no product's own. */
export function gpuServes(p: Problem, { family }: GpuKernel): boolean {
  if (p.op === 'map') return family === 'gpu-map' && !NOT_ON_GPU.has(p.kind);
  if (p.op === 'lines') return family === 'gpu-lines';
  if (p.op === 'move') return family === 'gpu-move';
  if (p.op === 'matmul') return family === 'gpu-gemm' && p.panel === undefined;
  if (p.op !== 'conv') return false;
  if (family === 'gpu-depthwise') return p.groups === p.inC;
  if (family !== 'gpu-gemm') return false;
  return p.layout === 'nchw' || p.groups === 1;
}

/** The rows as text: what was measured with other rows is not believed. */
export function gpuTableText(): string {
  return GPU_KERNELS.map(({ name }) => name).join('\n');
}
