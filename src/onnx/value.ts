/** What flows between operators: an array of numbers, on the host where it says shapes and places, or in the runtime's memory. */
import { type Shape, sizeOf } from '../core/shape.ts';
import type { DenseTensor } from '../ops/tensor.ts';
import { LaterArray } from './model/later.ts';
import type { ConstantArray, ElementType, Numbers } from './model/types.ts';

/** Elements from which on it matters where a constant is. */
const LARGE = 16 * 1024;

export class Value {
  readonly type: ElementType;
  readonly shape: Shape;
  /** Whether it is the same in every run on inputs of these shapes. */
  readonly isConstant: boolean;
  /** What constants that were made of it are known by, also where its shape is another. */
  readonly key: object;
  /** At least one of the two is there. */
  tensor: DenseTensor | undefined;
  #numbers: Numbers | undefined;
  #recall: (() => Numbers) | undefined;
  #fill: ((to: Float32Array) => void) | undefined;
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
    key: object = {},
  ) {
    this.type = type;
    this.shape = shape;
    this.isConstant = isConstant;
    this.#numbers = numbers;
    this.key = key;
    this.tensor = tensor;
  }

  static ofNumbers(type: ElementType, shape: Shape, numbers: Numbers, isConstant: boolean): Value {
    return new Value(type, shape, isConstant, numbers, undefined);
  }

  /** A constant of the model's, whose numbers may be read when they are wanted. */
  static ofLasting(array: ConstantArray): Value {
    const isLater = array instanceof LaterArray;
    const numbers = isLater ? undefined : array.data;
    const value = new Value(array.type, array.shape, true, numbers, undefined, array);
    if (isLater) {
      value.#recall = () => array.data;
      value.#fill = array.fill;
    }
    value.isLasting = true;
    return value;
  }

  /** The same numbers with other extents. */
  withShape(shape: Shape): Value {
    const other = new Value(this.type, shape, this.isConstant, this.#numbers, undefined, this.key);
    other.#recall = this.#recall;
    other.#fill = this.#fill;
    return other;
  }

  /** Where they are not kept, a copy: whoever only asks whether they are there looks at `hasNumbers`. */
  get numbers(): Numbers | undefined {
    if (this.#numbers) return this.#numbers;
    const numbers = this.#recall?.();
    // what is no float says shapes and places, and is asked for again and again
    if (this.type !== 'float32') this.#numbers = numbers;
    return numbers;
  }

  set numbers(numbers: Numbers | undefined) {
    this.#numbers = numbers;
  }

  /** The numbers as floats into memory that is there: from a file without a copy between. */
  writeTo(floats: Float32Array): void {
    if (this.#fill && !this.#numbers) this.#fill(floats);
    else floats.set(this.numbers!);
  }

  /** Whether `writeTo` reads a file, however often it is called. */
  get canWriteAgain(): boolean {
    return this.#fill !== undefined && this.#numbers === undefined;
  }

  get hasNumbers(): boolean {
    return this.#numbers !== undefined || this.#recall !== undefined;
  }

  /** Large constants that lie in the runtime's memory now need not lie outside of it as well. */
  letGo(recall: () => Float32Array): void {
    if (!this.isLasting || this.size < LARGE || this.type !== 'float32') return;
    this.#recall = recall;
    this.#numbers = undefined;
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
