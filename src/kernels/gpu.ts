/**
 * The GPU rows: one WGSL shader each, made from a template when a pipeline is wanted (src/backends/webgpu/wgsl). A row says how
 * the work is cut; how operands lie (transposed, in vectors of four, patches of an image) is the problem's and belongs to the
 * pipeline's key. Names as of the other kernels: `f32_gemm_64x64x16_4x4__wgsl` has tiles of 64 x 64 of the result, 16 steps of k
 * in workgroup memory, and 4 x 4 elements a thread.
 */

import { type ConvProblem, isPlainProduct, termsOf } from '../problem/conv.ts';
import type { MapKind } from '../problem/map.ts';
import type { MatmulProblem } from '../problem/matmul.ts';
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
  /** Whether the next slice is read into registers while this one is multiplied. */
  readonly ahead: boolean;
  /** How the 32 lanes of a subgroup lie in the tile: as local indices count them, or as 8 x 4. */
  readonly lanes: 'strips' | 'blocks';
  /** How many threads share an element: each sums its part of every slice, and the parts are added at the end. */
  readonly depth: number;
  /** Slices that workgroup memory holds: with two, threads wait for one another once a slice, not twice. */
  readonly stages: 1 | 2;
}

/** Products on matrix units; listed where the device multiplies the fragments that the kernels have. */
export const MATRIX_FEATURE = 'chromium-experimental-subgroup-matrix';

/** Products of halves on matrix units: operands are kept as halves, sums are floats. */
export interface GpuMatrixGemm {
  readonly name: string;
  readonly family: 'gpu-matrix';
  readonly needs: typeof MATRIX_FEATURE;
  readonly tileM: number;
  readonly tileN: number;
  readonly tileK: number;
  /** A subgroup's part of the tile. */
  readonly partM: number;
  readonly partN: number;
}

export interface GpuDepthwise {
  readonly name: string;
  readonly family: 'gpu-depthwise';
}

/** One shader for each function of elements, of lines, for moves, and for windows that are no products. */
export interface GpuArray {
  readonly name: string;
  readonly family: 'gpu-map' | 'gpu-lines' | 'gpu-move' | 'gpu-take' | 'gpu-pool' | 'gpu-fold';
  /** A feature that devices may lack; among rows that serve alike, those that need more come first. */
  readonly needs?: 'subgroups';
}

export type GpuKernel = GpuGemm | GpuMatrixGemm | GpuDepthwise | GpuArray;

type Shape = readonly [tileM: number, tileN: number, tileK: number, threadM: number, threadN: number];
type Way = readonly [ahead: boolean, lanes: GpuGemm['lanes'], depth: number, stages: GpuGemm['stages']];

const PLAIN: Way = [false, 'strips', 1, 1];
const AHEAD: Way = [true, 'strips', 1, 1];
const AHEAD_BLOCKS: Way = [true, 'blocks', 1, 1];
const STAGES: Way = [true, 'strips', 1, 2];
const STAGES_BLOCKS: Way = [true, 'blocks', 1, 2];

/**
 * All of them run within WebGPU's default limits: 256 threads and 16 KiB of workgroup memory. Large tiles reuse more of what they
 * load, small ones fill the machine where the result is small, and deep ones shorten the way along k where hardly any tile is. The
 * ways were chosen on an H100, for squares of 256 to 8192 and the layers of ResNet-50.
 */
const GEMM_SHAPES: readonly (readonly [Shape, Way])[] = [
  [[32, 32, 16, 2, 4], PLAIN],
  [
    [16, 16, 64, 2, 4],
    [true, 'strips', 8, 1],
  ],
  [[32, 32, 32, 4, 4], AHEAD],
  [[32, 32, 32, 2, 4], STAGES],
  [[32, 64, 16, 4, 4], AHEAD],
  [[32, 64, 16, 4, 4], STAGES],
  [[64, 32, 16, 4, 4], STAGES_BLOCKS],
  [[64, 32, 32, 4, 4], AHEAD],
  [[64, 64, 16, 8, 4], AHEAD_BLOCKS],
  [[64, 64, 16, 8, 4], STAGES_BLOCKS],
  [[64, 128, 8, 8, 8], STAGES],
  [[128, 128, 8, 8, 8], AHEAD],
  [[128, 128, 8, 16, 8], STAGES],
];

function gemmRow([shape, [ahead, lanes, depth, stages]]: readonly [Shape, Way]): GpuGemm {
  const [tileM, tileN, tileK, threadM, threadN] = shape;
  const ways = [
    ahead && 'ahead',
    lanes === 'blocks' && lanes,
    depth > 1 && `deep${depth}`,
    stages > 1 && `stages${stages}`,
  ];
  return {
    name: `f32_gemm_${tileM}x${tileN}x${tileK}_${threadM}x${threadN}__wgsl${ways.map((way) => (way ? `_${way}` : '')).join('')}`,
    family: 'gpu-gemm',
    tileM,
    tileN,
    tileK,
    threadM,
    threadN,
    ahead,
    lanes,
    depth,
    stages,
  };
}

/** Workgroup memory beyond WebGPU's default, which devices with matrix units have; the last fits into it, for the null device of tests. */
const MATRIX_SHAPES: readonly (readonly [
  tileM: number,
  tileN: number,
  tileK: number,
  partM: number,
  partN: number,
])[] = [
  [128, 256, 16, 64, 64],
  [128, 128, 16, 64, 32],
  [64, 64, 32, 32, 32],
];

function matrixRow([tileM, tileN, tileK, partM, partN]: (typeof MATRIX_SHAPES)[number]): GpuMatrixGemm {
  const name = `f16_gemm_${tileM}x${tileN}x${tileK}_${partM}x${partN}__wgsl_matrix`;
  return { name, family: 'gpu-matrix', needs: MATRIX_FEATURE, tileM, tileN, tileK, partM, partN };
}

export const GPU_KERNELS: readonly GpuKernel[] = [
  ...GEMM_SHAPES.map(gemmRow),
  ...MATRIX_SHAPES.map(matrixRow),
  { name: 'f32_dw_1x4__wgsl', family: 'gpu-depthwise' },
  { name: 'f32_map_1x4__wgsl', family: 'gpu-map' },
  { name: 'f32_lines_256__wgsl_subgroup', family: 'gpu-lines', needs: 'subgroups' },
  { name: 'f32_lines_256__wgsl', family: 'gpu-lines' },
  { name: 'f32_move_1x4__wgsl', family: 'gpu-move' },
  { name: 'f32_take_1x4__wgsl', family: 'gpu-take' },
  { name: 'f32_pool_1x4__wgsl', family: 'gpu-pool' },
  { name: 'f32_fold_1x4__wgsl', family: 'gpu-fold' },
];

/** Whether a device with these features takes a row's shaders. */
export function isOffered(kernel: GpuKernel, features: readonly string[]): boolean {
  const needs = 'needs' in kernel ? kernel.needs : undefined;
  return needs === undefined || features.includes(needs);
}

export function findGpuKernel(name: string): GpuKernel | undefined {
  return GPU_KERNELS.find((kernel) => kernel.name === name);
}

/** Threads of a workgroup, along the columns and the rows of its tile, and along k. */
export function threadsOf(row: GpuGemm): readonly [x: number, y: number, z: number] {
  return [row.tileN / row.threadN, row.tileM / row.threadM, row.depth];
}

/** Subgroups of a workgroup, along the columns and along the rows of its tile. */
export function partsOf({
  tileM,
  tileN,
  partM,
  partN,
}: GpuMatrixGemm): readonly [across: number, down: number] {
  return [tileN / partN, tileM / partM];
}

/** Extent of a fragment of a matrix unit, along rows, columns and k. */
export const FRAGMENT = 16;
/** Halves from one line of a fragment to the next in workgroup memory: eight neighbouring lines then meet all banks once. */
export const FRAGMENT_STRIDE = 24;

/** Bytes of workgroup memory: slices of both operands, and room for sums that threads or, on matrix units, subgroups hand over. */
export function workgroupBytes(kernel: GpuGemm | GpuMatrixGemm): number {
  const { family, tileM, tileN, tileK } = kernel;
  if (family === 'gpu-gemm')
    return 4 * (kernel.stages * tileK * (tileM + tileN) + (kernel.depth > 1 ? tileM * tileN : 0));
  const [across, down] = partsOf(kernel);
  const fragments = ((tileM + tileN) / FRAGMENT) * (tileK / FRAGMENT);
  return 2 * fragments * FRAGMENT * FRAGMENT_STRIDE + 4 * across * down * FRAGMENT ** 2;
}

/** Functions that WGSL promises too little of: powers and trigonometry are allowed errors that f32 would show, and there need be no NaN. */
const NOT_ON_GPU: ReadonlySet<MapKind> = new Set<MapKind>([
  ...(['pow', 'mod', 'fmod', 'sin', 'cos', 'tan', 'asin', 'acos', 'atan', 'sinh', 'cosh'] as const),
  ...(['asinh', 'acosh', 'atanh', 'isNaN', 'isInf'] as const),
]);

/** Lines of operands that are moved in vectors are whole ones. */
export function isWhole(line: number): boolean {
  return line % 4 === 0;
}

/** What matrix units take: two matrices of halves, as they lie in memory. */
function servesMatrix(p: MatmulProblem | ConvProblem): boolean {
  if (p.halves !== 'ab') return false;
  if (p.op === 'matmul') return isWhole(p.transposeA ? p.m : p.k) && isWhole(p.transposeB ? p.k : p.n);
  return isPlainProduct(p) && isWhole(termsOf(p)) && (p.layout === 'nhwc' || isWhole(p.outH * p.outW));
}

/** Whether a row can compute a problem. Grouped channels side by side (NHWC) are columns that are no product's own. */
export function gpuServes(p: Problem, { family }: GpuKernel): boolean {
  if (p.op === 'map') return family === 'gpu-map' && !NOT_ON_GPU.has(p.kind);
  if (p.op === 'lines') return family === 'gpu-lines';
  if (p.op === 'move') return family === 'gpu-move';
  if (p.op === 'take') return family === 'gpu-take';
  if (p.op === 'pool') return family === 'gpu-pool';
  if (p.op === 'fold') return family === 'gpu-fold' && p.layout === 'nchw';
  if (p.op !== 'matmul' && p.op !== 'conv') return false;
  if (p.op === 'matmul' && p.panel) return false;
  if (p.op === 'conv' && p.residualC !== undefined) return false;
  if (family === 'gpu-depthwise') return p.op === 'conv' && p.groups === p.inC && p.halves === 'none';
  if (p.op === 'conv' && p.layout === 'nhwc' && p.groups > 1) return false;
  return family === 'gpu-gemm' || (family === 'gpu-matrix' && servesMatrix(p));
}

/** The rows as text: what was measured with other rows is not believed. */
export function gpuTableText(): string {
  return GPU_KERNELS.map(({ name }) => name).join('\n');
}
