/** The public names of tesserae, nothing else. */

export { ERROR_CODES, type ErrorCode, TesseraeError } from './core/errors.ts';
export { createRuntime } from './ops/runtime.ts';
export type {
  ArrayWithShape,
  AsyncOptions,
  EngineFlags,
  Explanation,
  FeatureReport,
  MachineReport,
  MatmulOptions,
  MemoryReport,
  Numerics,
  Policy,
  Prepacked,
  ProblemSpec,
  Progress,
  Runtime,
  RuntimeEvent,
  RuntimeInfo,
  RuntimeOptions,
  Tensor,
  TensorLike,
  TuneOptions,
  TuneReport,
  WisdomAccess,
} from './ops/types.ts';
export type { MachineProfile } from './plan/machine.ts';
export {
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
export type { Activation, ActivationKind, BiasKind } from './problem/epilogue.ts';
export type { MatmulProblem } from './problem/matmul.ts';
