/** How the image that tiles read lies in memory: as the caller stored it, or copied with zeros around. */
import type { Constants, Epilogue } from '../../plan/program.ts';
import { type ConvProblem, groupChannels } from '../../problem/conv.ts';
import type { Window } from '../../problem/window.ts';
import { stretchesOf } from '../tiles.ts';
import { PACK_STEP_ELEMENTS, SLICE_ELEMENTS, type StepList } from './steps.ts';

/**
 * A padded copy. In NCHW each row is split into the phases of the horizontal stride s: phase r holds columns r, r + s, r + 2s
 * and so on, so that neighbouring outputs read neighbours. In NHWC a pixel's channels are neighbours already.
 */
export interface Padded {
  /** False where the image can be read in place: no padding, and (NCHW) horizontal stride 1. */
  readonly copied: boolean;
  readonly rowPitch: number;
  readonly phasePitch: number;
  readonly planePitch: number;
  readonly paddedH: number;
}

/** Rows of the padded image that windows look at. */
export function rowsSpanned(w: Window): number {
  return (w.outH - 1) * w.strideH + (w.kH - 1) * w.dilationH + 1;
}

export function columnsSpanned(w: Window): number {
  return (w.outW - 1) * w.strideW + (w.kW - 1) * w.dilationW + 1;
}

/** Whether a window ever looks beyond the image. */
export function looksOutside(w: Window): boolean {
  const below = rowsSpanned(w) - w.padTop > w.inH;
  return w.padTop > 0 || w.padLeft > 0 || below || columnsSpanned(w) - w.padLeft > w.inW;
}

/** The planes of an NCHW image. */
export function paddedPlanes(w: Window): Padded {
  if (!looksOutside(w) && w.strideW === 1) {
    return {
      copied: false,
      rowPitch: w.inW,
      phasePitch: w.inW,
      planePitch: w.inH * w.inW,
      paddedH: w.inH,
    };
  }
  const phasePitch = Math.ceil(columnsSpanned(w) / w.strideW);
  const rowPitch = w.strideW * phasePitch;
  const paddedH = rowsSpanned(w);
  return { copied: true, rowPitch, phasePitch, planePitch: paddedH * rowPitch, paddedH };
}

/** The rows of an NHWC image. */
export function paddedRows(w: Window, channels: number): Padded {
  if (!looksOutside(w)) {
    const rowPitch = w.inW * channels;
    return { copied: false, rowPitch, phasePitch: rowPitch, planePitch: w.inH * rowPitch, paddedH: w.inH };
  }
  const rowPitch = columnsSpanned(w) * channels;
  const paddedH = rowsSpanned(w);
  return { copied: true, rowPitch, phasePitch: rowPitch, planePitch: paddedH * rowPitch, paddedH };
}

/** The distance in a padded plane from a window's first tap to tap (kh, kw). */
export function tapOffset(w: Window, image: Padded, kh: number, kw: number): number {
  const column = kw * w.dilationW;
  return (
    kh * w.dilationH * image.rowPitch +
    (column % w.strideW) * image.phasePitch +
    Math.floor(column / w.strideW)
  );
}

/** Constants of the window and of the image that tiles read. */
export function imageConstants(w: Window, image: Padded): Partial<Constants> {
  const { inH, inW, outH, outW, kH, kW, strideH, strideW, dilationH, dilationW } = w;
  const { padTop, padLeft, padBottom, padRight } = w;
  const { rowPitch, phasePitch, planePitch, paddedH } = image;
  const geometry = { inH, inW, outH, outW, kH, kW, strideH, strideW, dilationH, dilationW };
  const padding = { padTop, padLeft, padBottom, padRight };
  return { ...geometry, ...padding, rowPitch, phasePitch, planePitch, paddedH };
}

/** The offsets of all k steps of a group, in the order (ic, kh, kw). */
export function stepOffsets(p: ConvProblem, image: Padded): number[] {
  const taps: number[] = [];
  for (let kh = 0; kh < p.kH; kh++) for (let kw = 0; kw < p.kW; kw++) taps.push(tapOffset(p, image, kh, kw));
  return Array.from({ length: groupChannels(p) }, (_, c) => c).flatMap((c) =>
    taps.map((tap) => c * image.planePitch + tap),
  );
}

/** Images that are padded together: as many as fit the packing space. */
export function imageGroups(p: ConvProblem, elementsPerImage: number): { from: number; length: number }[] {
  return stretchesOf(p.batch, Math.max(1, Math.floor(SLICE_ELEMENTS / Math.max(1, elementsPerImage))));
}

/** Steps that copy all planes of some images: some planes each, or some rows of one, as of an image with three channels. */
export function padPlanes(list: StepList, p: ConvProblem, image: Padded, from: number, images: number): void {
  const b = from * p.inC * p.inH * p.inW;
  const { planePitch, rowPitch, paddedH } = image;
  const planes = images * p.inC;
  if (planePitch <= PACK_STEP_ELEMENTS) {
    list.addStretches('pad', planes, planePitch, 1, (k0, ks) => ({ b, k0, ks, rows: paddedH }));
    return;
  }
  for (let k0 = 0; k0 < planes; k0++)
    list.addStretches('pad', paddedH, rowPitch, 1, (m0, rows) => ({ b, k0, ks: 1, m0, rows }));
}

/** What follows the sums of an image: values of a channel stand in a row of NCHW's result, in a column of NHWC's. */
export function imageEpilogue(
  p: Pick<ConvProblem, 'layout' | 'bias' | 'activation' | 'residual' | 'residualC' | 'exact'>,
): Epilogue {
  const side = p.layout === 'nchw' ? 'column' : 'row';
  return {
    bias: p.bias ? side : 'none',
    activation: p.activation,
    slope: p.activation === 'prelu' ? side : 'none',
    scaled: false,
    accumulate: p.residual,
    keepOld: false,
    oldRows: p.residualC ?? 0,
    exact: p.exact,
  };
}
