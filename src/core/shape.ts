/** Shapes: lists of extents, row-major. Checks throw `E_SHAPE` with the offending values. */
import { TesseraeError } from './errors.ts';
import { show } from './show.ts';

export type Shape = readonly number[];

/** No typed array is longer than this, and no address larger. */
const MAX_ELEMENTS = 2 ** 30;

/** Element count of a shape; 1 for a scalar's empty shape. */
export function sizeOf(shape: Shape): number {
  let size = 1;
  for (const extent of shape) size *= extent;
  return size;
}

/** Checks extents and returns a frozen copy. */
export function checkShape(shape: unknown, what: string): Shape {
  if (!Array.isArray(shape)) {
    throw new TesseraeError(
      'E_SHAPE',
      `${what}: the shape is not an array`,
      { shape },
      'Pass an array of extents such as [2, 3].',
    );
  }
  for (const extent of shape as unknown[]) {
    if (!Number.isSafeInteger(extent) || (extent as number) < 0) {
      throw new TesseraeError(
        'E_SHAPE',
        `${what}: ${show(extent)} is no extent`,
        { shape, extent },
        'Extents are finite whole numbers, zero or more.',
      );
    }
  }
  const checked = Object.freeze([...(shape as number[])]);
  if (sizeOf(checked) > MAX_ELEMENTS) {
    throw new TesseraeError(
      'E_SHAPE',
      `${what}: [${checked.join(', ')}] has more elements than one memory can hold`,
      { shape: checked, elements: sizeOf(checked), most: MAX_ELEMENTS },
      'Split the tensor: one WebAssembly memory ends at 4 GiB.',
    );
  }
  return checked;
}

export function showShape(shape: Shape): string {
  return `[${shape.join(', ')}]`;
}

/** NumPy's rule: aligned at the right, each pair of extents equal or one of them 1. Undefined where they do not fit. */
export function broadcast(a: Shape, b: Shape): Shape | undefined {
  const rank = Math.max(a.length, b.length);
  const out: number[] = [];
  for (let i = 0; i < rank; i++) {
    const x = a[a.length - rank + i] ?? 1;
    const y = b[b.length - rank + i] ?? 1;
    if (x !== y && x !== 1 && y !== 1) return undefined;
    out.push(x === 1 ? y : x);
  }
  return out;
}

/** For each index of `out`, in order, the linear index into a tensor of shape `from` that broadcasts to it. */
export function broadcastMap(from: Shape, out: Shape): number[] {
  const strides: number[] = [];
  let stride = 1;
  for (let i = from.length - 1; i >= 0; i--) {
    strides.unshift(from[i] === 1 ? 0 : stride);
    stride *= from[i]!;
  }
  while (strides.length < out.length) strides.unshift(0);
  let map = [0];
  out.forEach((extent, axis) => {
    const step = strides[axis]!;
    map = map.flatMap((base) => Array.from({ length: extent }, (_, i) => base + i * step));
  });
  return map;
}
