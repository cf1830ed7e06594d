/** Folding to steps: output rows gather, so there is nothing to wait for. */
import type { Plan } from '../../plan/plan.ts';
import { constantsOf, NO_EPILOGUE, type Program } from '../../plan/program.ts';
import { columnElements, type FoldProblem } from '../../problem/fold.ts';
import { stretchesOf } from '../tiles.ts';
import { imageConstants, imageEpilogue } from './image.ts';
import { StepList } from './steps.ts';

/** Columns of the result that are alike modulo the stride, from the first one on. */
function phasePitchOf(p: FoldProblem): number {
  return Math.floor((p.padLeft + p.outW - 1) / p.strideW) - Math.floor(p.padLeft / p.strideW) + 1;
}

function constantsFor(p: FoldProblem) {
  const phasePitch = phasePitchOf(p);
  const rowPitch = p.strideW * phasePitch;
  const image = { copied: true, rowPitch, phasePitch, planePitch: rowPitch, paddedH: 1 };
  return constantsOf({
    ...imageConstants(p, image),
    outChannels: p.outC,
    multiplier: p.outC / p.groups,
    nhwc: p.layout === 'nhwc' ? p.outC : 0,
  });
}

/** What programs of no product have in common. */
const NO_PANELS = { offsets: [], packedAElements: 0, packedBElements: 0, privateElements: 0 } as const;

/** Some channels and rows of an image in each step (NCHW), or some rows (NHWC). */
export function lowerFold(p: FoldProblem, plan: Plan): Program {
  const list = new StepList();
  const [columns, result] = [columnElements(p), p.outC * p.outH * p.outW];
  const nchw = p.layout === 'nchw';
  const perRow = nchw ? p.outW : p.outW * p.outC;
  const rows = stretchesOf(p.outH, Math.max(1, Math.floor(plan.nc / perRow)));
  const channels = nchw
    ? stretchesOf(p.outC, Math.max(1, Math.floor(plan.nc / (p.outH * p.outW))))
    : [{ from: 0, length: p.outC }];
  for (let image = 0; image < p.batch; image++) {
    for (const { from: k0, length: ks } of channels)
      for (const { from: n0, length: cols } of rows)
        list.add('fold', { b: image * columns, c: image * result, k0, ks, n0, cols });
  }
  const constants = constantsFor(p);
  // a list of taps, in NCHW with their columns; the phases of a row
  const privateElements = (nchw ? 3 : 1) * p.kH * p.kW + (nchw ? constants.rowPitch : 0) + 8;
  return {
    ...{ problem: p, plan, constants, epilogue: imageEpilogue(p) },
    ...{ ...NO_PANELS, steps: list.steps, privateElements },
  };
}

/** Weights to the filters of the 1x1 convolution that makes the columns of an NHWC image of `inC` channels. */
export function lowerTapFilters(p: FoldProblem, plan: Plan, inC: number): Program {
  const list = new StepList();
  const channels = inC / p.groups;
  list.addStretches('tapFilters', p.outC, channels * p.kH * p.kW, 1, (k0, ks) => ({ k0, ks }));
  const constants = { ...constantsFor(p), channels };
  return { problem: p, plan, constants, epilogue: NO_EPILOGUE, ...NO_PANELS, steps: list.steps };
}
