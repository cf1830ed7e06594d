/** Floats as 8-bit integers over the range that they have: ONNX DynamicQuantizeLinear. */
import { roundEven } from '../../backends/reference/quantized.ts';
import { sizeOf } from '../../core/shape.ts';
import type { Core } from '../core.ts';
import { type Operand, readOperand } from '../operands.ts';
import { Block, DenseTensor, type Held } from '../tensor.ts';
import type { TensorLike } from '../types.ts';
import type { QuantizedTensor } from './types.ts';

interface Scale {
  readonly scale: number;
  readonly zeroPoint: number;
}

/** Scale and zero point of a range that includes 0; rounded to f32 at each operation. Where all is 0, the scale is 1. */
export function scaleOf(low: number, high: number): Scale {
  const from = Math.min(0, low);
  const to = Math.max(0, high);
  const span = Math.fround(to - from);
  const scale = span === 0 ? 1 : Math.fround(span / 255);
  const zero = roundEven(Math.fround(0 - Math.fround(from / scale)));
  return { scale, zeroPoint: Math.min(255, Math.max(0, zero)) };
}

/** Quantises `count` floats into bytes on the calling thread: it takes a small part of the product's time. */
function quantise(core: Core, from: number, count: number, to: number): Scale {
  const { exports } = core.backend;
  const range = new Block(core.heap, 16, 'scratch');
  try {
    exports.float_range(from, count, range.address);
    const floats = core.heap.floats();
    const at = range.address >>> 2;
    const found = scaleOf(floats[at]!, floats[at + 1]!);
    exports.quantize_floats(from, count, found.scale, found.zeroPoint, to);
    return found;
  } finally {
    range.dispose();
  }
}

/** A left operand of floats that becomes bytes when the call begins; then its scale is known. */
export class DynamicOperand implements Held {
  readonly dtype = 'u8';
  readonly #core: Core;
  readonly #operand: Operand;
  #block: Block | undefined;
  #scale: Scale = { scale: 1, zeroPoint: 0 };

  constructor(core: Core, operand: Operand) {
    this.#core = core;
    this.#operand = operand;
  }

  get shape(): readonly number[] {
    return this.#operand.shape;
  }

  get scale(): number {
    return this.#scale.scale;
  }

  get zeroPoint(): number {
    return this.#scale.zeroPoint;
  }

  place(): number {
    const count = sizeOf(this.shape);
    const from = this.#operand.place();
    try {
      this.#block = new Block(this.#core.heap, count, 'scratch');
      this.#scale = quantise(this.#core, from, count, this.#block.address);
      return this.#block.address;
    } catch (error) {
      this.#block?.dispose();
      throw error;
    } finally {
      this.#operand.done();
    }
  }

  done(): void {
    this.#block?.dispose();
  }
}

export function quantizeDynamic(core: Core, x: TensorLike): QuantizedTensor {
  core.checkOpen('quantise');
  const operand = readOperand(core.heap, x, 'x');
  const from = operand.place();
  try {
    const y = new DenseTensor(core.heap, operand.shape, 'u8');
    return { y, ...quantise(core, from, y.size, y.block.address) };
  } finally {
    operand.done();
  }
}
