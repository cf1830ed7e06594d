/**
 * The public names of tesserae/onnx, nothing else.
 * @module tesserae/onnx
 */

export type { Comparison, Departure } from './compare.ts';
export type { FilterForms } from './filter-room.ts';
export type { Gap } from './graph/check.ts';
export { inspectModel, type ModelReport } from './inspect.ts';
export type { ElementType, Extent, ValueInfo } from './model/types.ts';
export {
  type Feeds,
  InferenceSession,
  type PrepareOptions,
  type Results,
  type SessionOptions,
  type StepReport,
} from './session.ts';
export { Tensor, type TensorArrays, type TensorIn } from './tensor.ts';
