/**
 * Direct convolution in NHWC: the channels of neighbouring taps are neighbours in memory, so a row of the filter is one
 * contiguous stretch of k (a segment), and micro-kernels that read A in place walk along it. Weights become panels of B.
 */
import { roundUp } from '../../core/math.ts';
import { findKernel } from '../../kernels/table.ts';
import type { Plan } from '../../plan/plan.ts';
import { constantsOf } from '../../plan/program.ts';
import { type ConvProblem, groupChannels, termsOf } from '../../problem/conv.ts';
import { stretchesOf } from '../tiles.ts';
import { imageConstants, imageGroups, type Padded, paddedRows } from './image.ts';
import { type Lowered, StepList } from './steps.ts';
import { weightForm } from './weights.ts';

/** Where segments begin, from a window's first tap, and how long they are. */
function segmentsOf(p: ConvProblem, image: Padded): { offsets: number[]; length: number } {
  const channels = groupChannels(p);
  // taps of a row join where no other group's channels and no dilation stand between them
  const joined = p.groups === 1 && p.dilationW === 1;
  const offsets: number[] = [];
  for (let kh = 0; kh < p.kH; kh++) {
    const row = kh * p.dilationH * image.rowPitch;
    for (let kw = 0; kw < (joined ? 1 : p.kW); kw++) offsets.push(row + kw * p.dilationW * p.inC);
  }
  return { offsets, length: joined ? p.kW * channels : channels };
}

export function lowerSegments(p: ConvProblem, plan: Plan): Lowered {
  const { mr, nr } = findKernel(plan.kernel)!;
  const image = paddedRows(p, p.inC);
  const form = weightForm(p, plan)!;
  const outC = p.outC / p.groups;
  const list = new StepList(plan.threads);
  if (!p.prepacked) {
    list.steps.push(...form.steps);
    list.endPhase();
  }
  const perImage = image.copied ? image.planePitch : 0;
  const inElements = p.inH * p.inW * p.inC;
  let packedAElements = 0;
  for (const { from, length } of imageGroups(p, perImage)) {
    packedAElements = Math.max(packedAElements, length * perImage);
    for (let i = 0; image.copied && i < length; i++) {
      list.addStretches('pad', image.paddedH, image.rowPitch, 1, (n0, cols) => ({
        a: (from + i) * inElements,
        n0,
        cols,
        packedA: i * perImage,
      }));
    }
    list.endPhase();
    for (let i = 0; i < length; i++) {
      for (let group = 0; group < p.groups; group++) {
        const c = (from + i) * p.outH * p.outW * p.outC + group * outC;
        const a = image.copied ? 0 : (from + i) * inElements + group * groupChannels(p);
        const packedA = image.copied ? i * perImage + group * groupChannels(p) : 0;
        const place = { a, c, packedA, packedB: group * form.perGroup, channel: group * outC };
        for (const { from: m0, length: rows } of stretchesOf(
          p.outH,
          Math.max(1, Math.floor(plan.mc / p.outW)),
        ))
          for (const { from: n0, length: cols } of stretchesOf(outC, plan.nc))
            list.add('segmentTile', { m0, rows, n0, cols, ...place });
      }
    }
    list.endPhase();
  }
  const { offsets, length } = segmentsOf(p, image);
  const constants = constantsOf({
    ...imageConstants(p, image),
    mr,
    nr,
    k: termsOf(p),
    nhwc: p.inC,
    directA: image.copied ? 0 : 1,
    lda: p.strideW * p.inC,
    ldc: p.outC,
    nPadded: roundUp(outC, nr),
    channels: groupChannels(p),
    outChannels: p.outC,
    segment: length,
  });
  return {
    constants,
    offsets,
    steps: list.steps,
    packedAElements,
    packedBElements: form.elements,
    privateElements: 0,
  };
}
