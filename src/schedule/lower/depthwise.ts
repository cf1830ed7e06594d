/** Depthwise convolution: channels and stretches of rows are independent, there is nothing to wait for (NCHW). */
import { findKernel, type Kernel } from '../../kernels/table.ts';
import type { Plan } from '../../plan/plan.ts';
import { laneChannels, planeBlocks } from '../../plan/planes.ts';
import { type Constants, constantsOf } from '../../plan/program.ts';
import type { ConvProblem } from '../../problem/conv.ts';
import type { Window } from '../../problem/window.ts';
import { stretchesOf } from '../tiles.ts';
import { columnsSpanned, imageConstants, type Padded, rowsSpanned, tapOffset } from './image.ts';
import { type Lowered, StepList } from './steps.ts';
import { weightForm } from './weights.ts';

/** Elements of strip that stay in a first cache of 32 KiB beside the output rows. */
const STRIP_ELEMENTS = 5 * 1024;
/** Shorter strips would copy the rows that neighbouring strips share too often. */
const STRIP_LEAST_ROWS = 16;

/** The strip: the input rows of a few output rows, padded and split by phase, in a thread's own space. */
export function stripOf(
  w: Window,
  rowsAtOnce: number,
): { image: Padded; stripRows: number; elements: number } {
  const phasePitch = Math.ceil(columnsSpanned(w) / w.strideW) + 4;
  const rowPitch = w.strideW * phasePitch;
  const fixed = (w.kH - 1) * w.dilationH + 1;
  const fitting = Math.floor((STRIP_ELEMENTS / rowPitch - fixed) / w.strideH) + 1;
  const wanted = Math.max(STRIP_LEAST_ROWS, fitting - (fitting % rowsAtOnce));
  const stripRows = Math.min(w.outH, wanted);
  const paddedH = (stripRows - 1) * w.strideH + fixed;
  return {
    image: { copied: true, rowPitch, phasePitch, planePitch: paddedH * rowPitch, paddedH },
    stripRows,
    elements: paddedH * rowPitch + 64,
  };
}

/** Table of the taps' places in a strip. */
export function stripTaps(w: Window, image: Padded): number[] {
  const offsets: number[] = [];
  for (let kh = 0; kh < w.kH; kh++)
    for (let kw = 0; kw < w.kW; kw++) offsets.push(tapOffset(w, image, kh, kw));
  return offsets;
}

/** Channels and rows to steps of about `nc` output pixels, `mr` rows at once. */
export function addPlanes(
  list: StepList,
  op: 'depthwise' | 'pool',
  batch: number,
  channels: number,
  perImage: { readonly in: number; readonly out: number },
  w: Window,
  plan: Pick<Plan, 'nc' | 'threads'>,
  mr: number,
): void {
  const blocks = planeBlocks(w, { batch, channels }, plan, mr);
  for (let image = 0; image < batch; image++) {
    const place = { b: image * perImage.in, c: image * perImage.out };
    for (const { from: n0, length: cols } of stretchesOf(w.outH, blocks.rows))
      for (const { from: k0, length: ks } of stretchesOf(channels, blocks.channels))
        list.add(op, { k0, ks, n0, cols, ...place });
  }
}

function depthwiseConstants(p: ConvProblem, image: Padded, stripRows: number): Partial<Constants> {
  return {
    ...imageConstants(p, image),
    k: p.kH * p.kW,
    channels: p.inC,
    outChannels: p.outC,
    multiplier: p.outC / p.inC,
    ldc: p.outH * p.outW,
    stripRows,
  };
}

/** Whole planes, four channels at once: each thread interleaves them in its own space. */
function lowerInterleaved(p: ConvProblem, plan: Plan): Lowered {
  const columns = columnsSpanned(p);
  const paddedH = rowsSpanned(p);
  const image = { copied: true, rowPitch: columns, phasePitch: 0, planePitch: paddedH * columns, paddedH };
  const list = new StepList();
  const plane = p.outH * p.outW;
  const channels = laneChannels(p, plan);
  for (let i = 0; i < p.batch; i++) {
    const place = { b: i * p.inC * p.inH * p.inW, c: i * p.outC * plane };
    for (const { from: k0, length: ks } of stretchesOf(p.outC, channels))
      list.add('depthwise', { k0, ks, n0: 0, cols: p.outH, ...place });
  }
  const offsets: number[] = [];
  for (let kh = 0; kh < p.kH; kh++)
    for (let kw = 0; kw < p.kW; kw++) offsets.push(4 * (kh * p.dilationH * columns + kw * p.dilationW));
  return {
    constants: constantsOf({ ...depthwiseConstants(p, image, 1), mr: 1, nr: 4, interleaved: 1 }),
    offsets,
    steps: list.steps,
    packedAElements: 0,
    packedBElements: 0,
    privateElements: 4 * (image.planePitch + p.kH * p.kW + p.outW) + 16,
  };
}

/** Elements of a thread's own space for kernels that read rows in place: zeros, masks, a bias and bounds, addresses of rows
 *  (assembly/conv/depthwise.ts). */
function inPlaceElements(p: ConvProblem): number {
  const zeros = p.outW * p.strideW + p.kW + 8;
  return zeros + 8 * p.kW + 4 + (p.outH - 1) * p.strideH + p.kH;
}

export function lowerDepthwise(p: ConvProblem, plan: Plan): Lowered {
  const kernel = findKernel(plan.kernel)!;
  if (kernel.lanes) return lowerInterleaved(p, plan);
  const { image, stripRows, elements } = stripOf(p, kernel.mr);
  const list = new StepList();
  const perImage = { in: p.inC * p.inH * p.inW, out: p.outC * p.outH * p.outW };
  addPlanes(list, 'depthwise', p.batch, p.outC, perImage, p, plan, kernel.mr);
  const inPlace = kernel.taps !== undefined;
  return {
    constants: constantsOf({
      ...depthwiseConstants(p, image, stripRows),
      mr: kernel.mr,
      nr: kernel.nr,
      inPlace: inPlace ? 1 : 0,
    }),
    offsets: inPlace ? [] : stripTaps(p, image),
    steps: list.steps,
    packedAElements: 0,
    packedBElements: 0,
    privateElements: inPlace ? inPlaceElements(p) : elements,
  };
}

/** Sums of one go that stay in a first cache with the rows that they come from. */
const BYTE_SUMS = 2048;

/** Output rows whose input rows become floats together, and the elements for both (assembly/quantized/depthwise.ts). */
export function byteStrips(p: ConvProblem, { mr }: Kernel): { stripRows: number; elements: number } {
  const stripRows = Math.max(1, Math.floor(BYTE_SUMS / p.outW / mr)) * mr;
  const rows = (stripRows - 1) * p.strideH + p.kH;
  return { stripRows, elements: rows * p.inW + 16 + stripRows * p.outW + 16 };
}

/** Lanes are channels; taps beyond the image read a row of zeros, which each thread keeps for itself. */
export function lowerDepthwiseNhwc(p: ConvProblem, plan: Plan): Lowered {
  const form = weightForm(p, plan)!;
  const list = new StepList();
  if (!p.prepacked) {
    list.steps.push(...form.steps);
    list.endPhase();
  }
  const rows = Math.max(1, Math.floor(plan.nc / (p.outW * p.outC)));
  for (let image = 0; image < p.batch; image++) {
    const place = { a: image * p.inH * p.inW * p.inC, c: image * p.outH * p.outW * p.outC };
    for (const { from: n0, length: cols } of stretchesOf(p.outH, rows))
      list.add('depthwise', { n0, cols, ...place });
  }
  const image = { copied: false, rowPitch: p.inW * p.inC, phasePitch: 0, planePitch: 0, paddedH: p.inH };
  return {
    constants: constantsOf({ ...depthwiseConstants(p, image, 1), mr: 1, nr: 4, nhwc: p.inC, ldc: p.outC }),
    offsets: [],
    steps: list.steps,
    packedAElements: 0,
    packedBElements: form.elements,
    privateElements: p.inC + 4 * p.kH * p.kW + 64,
  };
}
