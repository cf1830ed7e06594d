/**
 * The public names of tesserae, nothing else.
 * @module tesserae
 */

export type { AdapterReport, GpuRequest } from './backends/webgpu/open.ts';
export { ERROR_CODES, type ErrorCode, TesseraeError } from './core/errors.ts';
export type { GpuBuffer, GpuDevice } from './core/webgpu.ts';
export type {
  ArrayRuntime,
  ElementOptions,
  LayerNormOptions,
  ReduceOptions,
  SoftmaxOptions,
  TransposeOptions,
  Unary,
} from './ops/array/types.ts';
export type { MapFunction } from './ops/kernel/source.ts';
export type { KernelOptions, KernelRunOptions, UserKernel, WithKernel } from './ops/kernel/types.ts';
export type {
  ByteTensor,
  ByteTensorLike,
  ConvIntegerOptions,
  ConvIntegerSpec,
  MatmulDynamicOptions,
  MatmulIntegerOptions,
  MatmulIntegerSpec,
  PrepackedFilters,
  PrepackedInteger,
  PrepackFiltersOptions,
  PrepackIntegerOptions,
  QlinearConvOptions,
  QlinearMatmulOptions,
  QuantizedBy,
  QuantizedTensor,
  QuantizeTo,
} from './ops/quantized/types.ts';
export { createRuntime } from './ops/runtime.ts';
export { embeddedWasm, embeddedWorker } from './ops/setup.ts';
export { type AttachedRuntime, attachRuntime } from './ops/share/guest.ts';
export type {
  ArrayWithShape,
  AsyncOptions,
  AveragePoolOptions,
  BackendChoice,
  BackendName,
  Band,
  BandOptions,
  BudgetOptions,
  BudgetReport,
  ColumnSource,
  Conv1dOptions,
  ConvOptions,
  ConvSpec,
  ConvTransposeOptions,
  EngineFlags,
  Explanation,
  FeatureReport,
  GlobalPoolOptions,
  GpuReport,
  Location,
  MachineReport,
  Matmul,
  MatmulOptions,
  MatmulSpec,
  MemoryReport,
  Numerics,
  PlacedOptions,
  Policy,
  PoolOptions,
  PrepackConvOptions,
  Prepacked,
  PrepackedConv,
  PrepackOptions,
  ProblemSpec,
  Profile,
  Progress,
  Runtime,
  RuntimeEvent,
  RuntimeInfo,
  RuntimeOptions,
  SharedRuntime,
  SharedTensor,
  Span,
  Spread,
  SpreadOptions,
  Storage,
  Tensor,
  TensorLike,
  ToOptions,
  TraceEvent,
  TuneOptions,
  TuneReport,
  WasmFiles,
  WisdomAccess,
} from './ops/types.ts';
export type { GpuProfile } from './plan/gpu.ts';
export type { MachineProfile } from './plan/machine.ts';
export {
  type Algorithm,
  type Candidate,
  type Effort,
  type Packing,
  type Plan,
  printPlan,
  type TileOrder,
} from './plan/plan.ts';
export { memoryStore } from './plan/stores/memory.ts';
export { defaultWisdomPath, nodeFileStore } from './plan/stores/node-file.ts';
export type { WisdomStore } from './plan/stores/types.ts';
export type { ConvAlgorithm, ConvProblem, Layout } from './problem/conv.ts';
export type { Activation, ActivationKind, BiasKind } from './problem/epilogue.ts';
export type { ReduceKind } from './problem/lines.ts';
export type { BinaryKind, UnaryKind } from './problem/map.ts';
export type { MatmulProblem } from './problem/matmul.ts';
export type { PoolKind, PoolProblem } from './problem/pool.ts';
export type { Problem } from './problem/problem.ts';
export type { Padding, Pair, Window } from './problem/window.ts';
