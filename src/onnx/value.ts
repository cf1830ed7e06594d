/** What flows between operators: an array of numbers, on the host where it says shapes and places, or in the runtime's memory. */
import { type Shape, sizeOf } from '../core/shape.ts';
import type { DenseTensor } from '../ops/tensor.ts';
import type { ElementType, Numbers } from './model/types.ts';

export class Value {
  readonly type: ElementType;
  readonly shape: Shape;
  /** Whether it is the same in every run on inputs of these shapes. */
  readonly isConstant: boolean;
  /** At least one of the two is there. */
  numbers: Numbers | undefined;
  tensor: DenseTensor | undefined;
  /** Whether the tensor outlives the run. */
  isKept = false;
  /** Whether it is one of the model's own constants, which all runs share. */
  isLasting = false;

  private constructor(
    type: ElementType,
    shape: Shape,
    isConstant: boolean,
    numbers: Numbers | undefined,
    tensor: DenseTensor | undefined,
  ) {
    this.type = type;
    this.shape = shape;
    this.isConstant = isConstant;
    this.numbers = numbers;
    this.tensor = tensor;
  }

  static ofNumbers(type: ElementType, shape: Shape, numbers: Numbers, isConstant: boolean): Value {
    return new Value(type, shape, isConstant, numbers, undefined);
  }

  /** Floats in the runtime's memory, whatever type they stand for. */
  static ofTensor(tensor: DenseTensor, type: ElementType = 'float32', isConstant = false): Value {
    return new Value(type, tensor.shape, isConstant, undefined, tensor);
  }

  get size(): number {
    return sizeOf(this.shape);
  }

  get rank(): number {
    return this.shape.length;
  }

  dispose(): void {
    if (!this.isKept) this.tensor?.dispose();
  }
}

export function isFloat(type: ElementType): boolean {
  return type === 'float32' || type === 'float64' || type === 'float16';
}
