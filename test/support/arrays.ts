/** What functions of elements and lines should give, by index arithmetic of its own: one place of the result after the other. */
import { functionOf } from '../../src/backends/reference/array.ts';
import type { ArrayWithShape, Tensor } from '../../src/index.ts';
import type { MapKind } from '../../src/problem/map.ts';
import { EPS } from './compare.ts';
import { sizeOf } from './oracle.ts';
import type { Random } from './seed.ts';

/** The place of element `index` of a dense array. */
export function placeOf(shape: readonly number[], index: number): number[] {
  const place: number[] = [];
  let rest = index;
  for (const extent of [...shape].reverse()) {
    place.unshift(rest % extent);
    rest = Math.floor(rest / extent);
  }
  return place;
}

/** The index of a place; axes that the array lacks or has once do not count. */
export function indexOf(shape: readonly number[], place: readonly number[]): number {
  const own = place.slice(place.length - shape.length);
  return shape.reduce((index, extent, axis) => index * extent + (extent === 1 ? 0 : own[axis]!), 0);
}

export function commonShape(shapes: readonly (readonly number[])[]): number[] {
  const rank = Math.max(...shapes.map((shape) => shape.length));
  return Array.from({ length: rank }, (_, axis) => {
    const extents = shapes.map((shape) => shape[axis - rank + shape.length] ?? 1);
    return extents.find((extent) => extent !== 1) ?? 1;
  });
}

export function mapped(
  kind: MapKind,
  operands: readonly ArrayWithShape[],
  p0 = 0,
  p1 = 0,
): { shape: number[]; values: Float64Array } {
  const shape = commonShape(operands.map((operand) => operand.shape));
  const of = functionOf(kind, { p0, p1 });
  const values = Float64Array.from({ length: sizeOf(shape) }, (_, index) => {
    const place = placeOf(shape, index);
    return of(...operands.map(({ data, shape: own }) => data[indexOf(own, place)]!));
  });
  return { shape, values };
}

/** What is wrong with a result: `eps` is the relative error that is allowed, in units of EPS, `near` an absolute one. */
export function valuesFault(
  got: ArrayLike<number>,
  wanted: ArrayLike<number>,
  eps: number,
  near: number | ArrayLike<number> = 0,
): string | undefined {
  if (got.length !== wanted.length) return `${got.length} elements, not ${wanted.length}`;
  for (let i = 0; i < wanted.length; i++) {
    const [is, should] = [got[i]!, Math.fround(wanted[i]!)];
    if (Object.is(is, should) || is === should || (Number.isNaN(is) && Number.isNaN(should))) continue;
    const bound = eps * EPS * Math.abs(wanted[i]!) + (typeof near === 'number' ? near : near[i]!) + 2 ** -126;
    if (eps > 0 && Math.abs(is - wanted[i]!) <= bound) continue;
    return `element ${i} of ${wanted.length} is ${is}, not ${wanted[i]}`;
  }
  return undefined;
}

/** A result tensor full of NaN between two others that nobody may touch. */
export function guarded(
  make: (shape: readonly number[]) => Tensor,
  shape: readonly number[],
): { out: Tensor; fault(): string | undefined; dispose(): void } {
  const [before, out, after] = [make([16]), make(shape), make([16])];
  for (const tensor of [before, after]) tensor.data.fill(7);
  out.data.fill(Number.NaN);
  const fault = () =>
    [before, after].every((tensor) => tensor.data.every((value) => value === 7))
      ? undefined
      : 'a neighbour was written to';
  const dispose = () => {
    for (const tensor of [before, out, after]) tensor.dispose();
  };
  return { out, fault, dispose };
}

/** A shape, and one that broadcasts to it. */
export function shapesThatFit(random: Random, count: number): number[][] {
  const rank = random.int(0, 4);
  const whole = Array.from({ length: rank }, () => random.pick([1, 2, 3, 4, 5, 7, 16, 17, 33]));
  return Array.from({ length: count }, (_, i) => {
    const own = i === 0 ? whole : whole.slice(random.int(0, rank));
    return own.map((extent) => (random.chance(0.3) ? 1 : extent));
  });
}
