/** A window that slides over images: the geometry that convolution and pooling share. */
import { TesseraeError } from '../core/errors.ts';
import { show } from '../core/show.ts';

/** A number for both directions, or [vertical, horizontal]. */
export type Pair = number | readonly [number, number];

/**
 * Zeros around the image: one number for all sides, [vertical, horizontal], or [top, left, bottom, right] (the order of ONNX
 * `pads`). `'same'` and `'same-lower'` make the result as large as the input divided by the stride, rounded up, with the odd
 * pixel at the end or at the beginning (ONNX SAME_UPPER and SAME_LOWER); `'valid'` is none.
 */
export type Padding =
  | number
  | readonly [number, number]
  | readonly [number, number, number, number]
  | 'same'
  | 'same-lower'
  | 'valid';

export interface Window {
  readonly inH: number;
  readonly inW: number;
  readonly outH: number;
  readonly outW: number;
  readonly kH: number;
  readonly kW: number;
  readonly strideH: number;
  readonly strideW: number;
  readonly dilationH: number;
  readonly dilationW: number;
  readonly padTop: number;
  readonly padLeft: number;
  readonly padBottom: number;
  readonly padRight: number;
}

export interface WindowOptions {
  readonly stride?: Pair | undefined;
  readonly padding?: Padding | undefined;
  readonly dilation?: Pair | undefined;
  /** Count a last window that begins inside of the image or its leading padding but does not fit whole (pooling). */
  readonly ceil?: boolean | undefined;
}

export function readPair(
  value: Pair | undefined,
  fallback: number,
  name: string,
  least = 1,
): [number, number] {
  const pair =
    value === undefined ? [fallback, fallback] : typeof value === 'number' ? [value, value] : value;
  const good =
    Array.isArray(pair) && pair.length === 2 && pair.every((x) => Number.isSafeInteger(x) && x >= least);
  if (good) return [pair[0] as number, pair[1] as number];
  throw new TesseraeError(
    'E_ARGUMENT',
    `${name} is ${show(value)}`,
    { [name]: value },
    `A whole number from ${least} up, or two of them: [vertical, horizontal].`,
  );
}

/** Pixels that a window of `k` taps spans. */
function span(k: number, dilation: number): number {
  return (k - 1) * dilation + 1;
}

function sameAxis(
  size: number,
  k: number,
  stride: number,
  dilation: number,
  lower: boolean,
): [number, number] {
  const total = Math.max(0, (Math.ceil(size / stride) - 1) * stride + span(k, dilation) - size);
  const less = Math.floor(total / 2);
  return lower ? [total - less, less] : [less, total - less];
}

/** Padding in pixels: top, left, bottom, right. */
export function readSides(padding: Exclude<Padding, string>): [number, number, number, number] {
  const sides = typeof padding === 'number' ? [padding, padding, padding, padding] : padding;
  const good = Array.isArray(sides) && sides.every((x) => Number.isSafeInteger(x) && x >= 0);
  if (good && sides.length === 2) return [sides[0]!, sides[1]!, sides[0]!, sides[1]!];
  if (good && sides.length === 4) return [sides[0]!, sides[1]!, sides[2]!, sides[3]!];
  throw badPadding(padding);
}

function badPadding(padding: unknown): TesseraeError {
  return new TesseraeError(
    'E_ARGUMENT',
    `padding is ${show(padding)}`,
    { padding },
    "A number, [vertical, horizontal], [top, left, bottom, right], 'same', 'same-lower' or 'valid'.",
  );
}

function outExtent(
  size: number,
  k: number,
  stride: number,
  dilation: number,
  before: number,
  after: number,
  ceil: boolean,
): number {
  const room = size + before + after - span(k, dilation);
  if (!ceil) return room < 0 ? 0 : Math.floor(room / stride) + 1;
  // even the first one may run past the end
  const count = Math.max(0, Math.ceil(room / stride) + 1);
  // a window must not begin in the padding behind the image
  return (count - 1) * stride >= size + before ? count - 1 : count;
}

/** The window of an image and a filter. Throws `E_ARGUMENT` on bad options and `E_SHAPE` where the filter does not fit. */
export function windowOf(
  image: { readonly height: number; readonly width: number },
  filter: { readonly kH: number; readonly kW: number },
  options: WindowOptions,
): Window {
  const [strideH, strideW] = readPair(options.stride, 1, 'stride');
  const [dilationH, dilationW] = readPair(options.dilation, 1, 'dilation');
  const { height, width } = image;
  const { kH, kW } = filter;
  const { padding = 0, ceil = false } = options;
  let sides: [number, number, number, number];
  if (padding === 'valid') sides = [0, 0, 0, 0];
  else if (padding === 'same' || padding === 'same-lower') {
    const lower = padding === 'same-lower';
    const [top, bottom] = sameAxis(height, kH, strideH, dilationH, lower);
    const [left, right] = sameAxis(width, kW, strideW, dilationW, lower);
    sides = [top, left, bottom, right];
  } else if (typeof padding === 'string') throw badPadding(padding);
  else sides = readSides(padding);
  const [padTop, padLeft, padBottom, padRight] = sides;
  const outH = outExtent(height, kH, strideH, dilationH, padTop, padBottom, ceil);
  const outW = outExtent(width, kW, strideW, dilationW, padLeft, padRight, ceil);
  if (height > 0 && width > 0 && kH > 0 && kW > 0 && (outH === 0 || outW === 0)) {
    throw new TesseraeError(
      'E_SHAPE',
      `a window of ${span(kH, dilationH)} x ${span(kW, dilationW)} does not fit an image of ${height} x ${width} with padding [${sides.join(', ')}]`,
      { image: [height, width], filter: [kH, kW], dilation: [dilationH, dilationW], padding: sides },
      'Pad the image, or use a smaller filter or dilation.',
    );
  }
  return {
    inH: height,
    inW: width,
    outH: height > 0 && kH > 0 ? outH : 0,
    outW: width > 0 && kW > 0 ? outW : 0,
    kH,
    kW,
    strideH,
    strideW,
    dilationH,
    dilationW,
    padTop,
    padLeft,
    padBottom,
    padRight,
  };
}

function pairText(x: number, y: number): string {
  return x === y ? `${x}` : `${x}.${y}`;
}

/** The window's part of a key: `3x3 s2 p1 d1`, sides as top.left.bottom.right where they differ; the result's extents are
 *  named only where they do not follow (ceil mode). */
export function windowKey(w: Window): string {
  const { padTop, padLeft, padBottom, padRight } = w;
  const sides = [padTop, padLeft, padBottom, padRight];
  const padding = sides.every((side) => side === padTop) ? `${padTop}` : sides.join('.');
  const dilated = w.dilationH > 1 || w.dilationW > 1 ? ` d${pairText(w.dilationH, w.dilationW)}` : '';
  const floorH = outExtent(w.inH, w.kH, w.strideH, w.dilationH, padTop, padBottom, false);
  const floorW = outExtent(w.inW, w.kW, w.strideW, w.dilationW, padLeft, padRight, false);
  const ceil = floorH !== w.outH || floorW !== w.outW ? ` o${pairText(w.outH, w.outW)}` : '';
  return `${w.kH}x${w.kW} s${pairText(w.strideH, w.strideW)} p${padding}${dilated}${ceil}`;
}
