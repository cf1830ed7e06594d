/**
 * The second half of a transposed convolution. Its first is a product: a column for each input pixel, with one value for each
 * output channel and tap. Folding adds each value to the output pixel that its tap reaches.
 */
import { TesseraeError } from '../core/errors.ts';
import type { Layout } from './conv.ts';
import type { ActivationKind } from './epilogue.ts';
import { type Pair, readPair, readSides, type Window, type WindowOptions, windowKey } from './window.ts';

/** `in` extents are the columns' (the transposed convolution's input), `out` extents the result's. */
export interface FoldProblem extends Window {
  readonly op: 'fold';
  readonly dtype: 'f32';
  readonly layout: Layout;
  readonly batch: number;
  readonly groups: number;
  readonly outC: number;
  readonly bias: boolean;
  readonly activation: ActivationKind;
  readonly residual: boolean;
  readonly exact: boolean;
}

export interface TransposeWindowOptions extends Omit<WindowOptions, 'ceil'> {
  readonly outputPadding?: Pair | undefined;
}

interface Axis {
  /** Before padding is cut off. */
  readonly whole: number;
  readonly same: number;
}

/** What is cut off before and after, and what is left. */
function cutOf({ whole, same }: Axis, padding: 'same' | 'same-lower' | readonly [number, number]) {
  if (typeof padding !== 'string')
    return { before: padding[0], after: padding[1], out: whole - padding[0] - padding[1] };
  const total = Math.max(0, whole - same);
  const less = Math.floor(total / 2);
  const [before, after] = padding === 'same' ? [less, total - less] : [total - less, less];
  return { before, after, out: same };
}

function readOutputPadding(value: Pair | undefined, strideH: number, strideW: number): [number, number] {
  const [high, wide] = readPair(value, 0, 'outputPadding', 0);
  if (high < strideH && wide < strideW) return [high, wide];
  throw new TesseraeError(
    'E_ARGUMENT',
    `outputPadding is [${high}, ${wide}], the stride [${strideH}, ${strideW}]`,
    { outputPadding: value, stride: [strideH, strideW] },
    'It must be less than the stride: it says which of the possible extents is meant.',
  );
}

/**
 * The window of a transposed convolution: the one of the convolution that leads from the result back to `image`. Throws
 * `E_ARGUMENT` on bad options and `E_SHAPE` where padding leaves nothing of the result.
 */
export function transposeWindowOf(
  image: { readonly height: number; readonly width: number },
  filter: { readonly kH: number; readonly kW: number },
  options: TransposeWindowOptions,
): Window {
  const [strideH, strideW] = readPair(options.stride, 1, 'stride');
  const [dilationH, dilationW] = readPair(options.dilation, 1, 'dilation');
  const [extraH, extraW] = readOutputPadding(options.outputPadding, strideH, strideW);
  const { height: inH, width: inW } = image;
  const { kH, kW } = filter;
  const { padding = 0 } = options;
  const wholeH = (inH - 1) * strideH + (kH - 1) * dilationH + 1 + extraH;
  const wholeW = (inW - 1) * strideW + (kW - 1) * dilationW + 1 + extraW;
  const named = padding === 'same' || padding === 'same-lower';
  const sides = named || padding === 'valid' ? ([0, 0, 0, 0] as const) : readSides(padding);
  const tall = cutOf({ whole: wholeH, same: inH * strideH }, named ? padding : [sides[0], sides[2]]);
  const wide = cutOf({ whole: wholeW, same: inW * strideW }, named ? padding : [sides[1], sides[3]]);
  if (inH > 0 && inW > 0 && kH > 0 && kW > 0 && (tall.out < 1 || wide.out < 1)) {
    throw new TesseraeError(
      'E_SHAPE',
      `padding [${sides.join(', ')}] leaves nothing of a result of ${wholeH} x ${wholeW}`,
      { image: [inH, inW], filter: [kH, kW], padding: sides },
      'In a transposed convolution padding is cut off the result: use less of it.',
    );
  }
  return {
    ...{ inH, inW, outH: Math.max(0, tall.out), outW: Math.max(0, wide.out), kH, kW },
    ...{ strideH, strideW, dilationH, dilationW },
    ...{ padTop: tall.before, padLeft: wide.before, padBottom: tall.after, padRight: wide.after },
  };
}

/** Elements of the columns of one image. */
export function columnElements(p: FoldProblem): number {
  return p.outC * p.kH * p.kW * p.inH * p.inW;
}

/** Canonical key: `fold f32 nchw 1x32 32x32 to 64x64 4x4 s2 p1 bias act=relu`, extents of the columns and of the result. */
export function foldKey(p: FoldProblem): string {
  let key = `fold ${p.dtype} ${p.layout} ${p.batch}x${p.outC} ${p.inH}x${p.inW} to ${p.outH}x${p.outW} ${windowKey(p)}`;
  if (p.groups > 1) key += ` g${p.groups}`;
  if (p.bias) key += ' bias';
  if (p.residual) key += ' residual';
  if (p.activation !== 'none') key += ` act=${p.activation}`;
  if (p.exact) key += ' exact';
  return key;
}

/** One addition a value of the columns. */
export function foldFlops(p: FoldProblem): number {
  return p.batch * columnElements(p);
}
