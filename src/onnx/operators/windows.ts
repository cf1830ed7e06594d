/**
 * How windows go over images of any number of extents. What is computed has two: further ones in front are taken away one by one, the frames
 * that a window sees along such an extent becoming channels of one image (im2col along one axis: Chellapilla et al., "High performance
 * convolutional neural networks for document processing", 2006).
 */
import { sizeOf } from '../../core/shape.ts';
import { denseStrides } from '../../core/strided.ts';
import { windowOf } from '../../problem/window.ts';
import type { Context } from '../context.ts';
import type { Value } from '../value.ts';
import { assemble, read } from './views.ts';

/** A window along one extent of an image. */
export interface Axis {
  readonly extent: number;
  readonly k: number;
  readonly stride: number;
  readonly dilation: number;
  readonly before: number;
  readonly after: number;
  readonly out: number;
}

/** An extent of one that is left alone. */
export const UNIT: Axis = { extent: 1, k: 1, stride: 1, dilation: 1, before: 0, after: 0, out: 1 };

/** The window of a node along each extent, from the attributes that convolution and pooling share. */
export function axesOf(
  context: Context,
  extents: readonly number[],
  kernel: readonly number[],
): readonly Axis[] {
  if (extents.length !== kernel.length)
    throw context.refuse(`a window of [${kernel}] over [${extents}]`, { kernel, extents });
  const auto = context.string('auto_pad', 'NOTSET');
  const pads = context.intList('pads') ?? [];
  const ceil = context.int('ceil_mode', 0) === 1;
  return extents.map((extent, i): Axis => {
    const [before, after] = auto === 'NOTSET' ? [pads[i] ?? 0, pads[i + extents.length] ?? 0] : [0, 0];
    const padding =
      auto === 'SAME_UPPER'
        ? 'same'
        : auto === 'SAME_LOWER'
          ? 'same-lower'
          : ([before, 0, after, 0] as const);
    const [stride, dilation] = [listed(context, 'strides', i), listed(context, 'dilations', i)];
    const along = { stride: [stride, 1], dilation: [dilation, 1], padding, ceil } as const;
    const { padTop, padBottom, outH } = windowOf(
      { height: extent, width: 1 },
      { kH: kernel[i]!, kW: 1 },
      along,
    );
    return { ...{ extent, k: kernel[i]!, stride, dilation }, before: padTop, after: padBottom, out: outH };
  });
}

/** An attribute's number for one extent: 1 where there is none. */
export function listed(context: Context, name: string, at: number): number {
  return context.intList(name)?.[at] ?? 1;
}

/** Two extents as the runtime takes them; a line is an image of one row. */
export function plane(axes: readonly Axis[]) {
  const [h, w] = axes.length === 1 ? [UNIT, axes[0]!] : [axes[0]!, axes[1]!];
  return {
    stride: [h.stride, w.stride],
    dilation: [h.dilation, w.dilation],
    padding: [h.before, w.before, h.after, w.after],
  } as const;
}

/** An image, or filters, of four extents: one row where there is a line. */
export function asImage(context: Context, x: Value): Value {
  if (x.rank === 4) return x;
  if (x.rank === 3) return context.reshaped(x, lineAsImage(x.shape));
  throw context.refuse(`images of ${x.rank - 2} extents`, { shape: x.shape });
}

export function lineAsImage(shape: readonly number[]): readonly number[] {
  return shape.length === 3 ? [shape[0]!, shape[1]!, 1, shape[2]!] : shape;
}

/** The result with the line's extents where there was a line. */
export function asLine(context: Context, image: Value, rank: number): Value {
  if (rank !== 3) return image;
  const [n, c, , l] = image.shape as [number, number, number, number];
  const line = context.reshaped(image, [n, c, l]);
  image.dispose();
  return line;
}

/** [n, c, d, ...] with `before` and `after` frames of `fill` around the d. */
function framed(context: Context, x: Value, { before, after }: Axis, fill: number): Value {
  if (before === 0 && after === 0) return x;
  const [n, c, d, ...rest] = x.shape as [number, number, number, ...number[]];
  const at = [0, 0, before, ...rest.map(() => 0)];
  return assemble(context, [n, c, before + d + after, ...rest], fill, [{ value: x, at }]);
}

/** [n, c, d, ...] as [n out, c k, ...]: for each window along d the frames that it sees, as channels. */
export function unfolded(context: Context, x: Value, axis: Axis, fill = 0): Value {
  const padded = framed(context, x, axis, fill);
  const [n, c, , ...rest] = x.shape as [number, number, number, ...number[]];
  const [image, channel, frame, ...inner] = denseStrides(padded.shape) as [
    number,
    number,
    number,
    ...number[],
  ];
  const seen = read(context, padded, {
    shape: [n, axis.out, c, axis.k, ...rest],
    strides: [image, axis.stride * frame, channel, axis.dilation * frame, ...inner],
    first: 0,
  });
  if (padded !== x) padded.dispose();
  const frames = context.reshaped(seen, [n * axis.out, c * axis.k, ...rest]);
  seen.dispose();
  return frames;
}

/** [n out, c, ...] as [n, c, out, ...]. */
export function refolded(context: Context, y: Value, out: number): Value {
  const [images, c, ...rest] = y.shape as [number, number, ...number[]];
  const size = sizeOf(rest);
  const n = images / Math.max(1, out);
  const moved = read(context, y, {
    shape: [n, c, out, size],
    strides: [out * c * size, size, c * size, 1],
    first: 0,
  });
  y.dispose();
  const result = context.reshaped(moved, [n, c, out, ...rest]);
  moved.dispose();
  return result;
}
