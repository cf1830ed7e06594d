/** Constants that are read when they are wanted, each time anew: whoever wants one keeps what it makes of it. */
import type { ConstantArray, ElementType, Numbers } from './types.ts';

export class LaterArray implements ConstantArray {
  readonly type: ElementType;
  readonly shape: readonly number[];
  /** Reads into memory that is there, of as many elements. */
  readonly fill: ((to: Float32Array) => void) | undefined;
  readonly #read: () => Numbers;

  constructor(
    type: ElementType,
    shape: readonly number[],
    read: () => Numbers,
    fill?: (to: Float32Array) => void,
  ) {
    this.type = type;
    this.shape = shape;
    this.#read = read;
    this.fill = fill;
  }

  get data(): Numbers {
    return this.#read();
  }
}
