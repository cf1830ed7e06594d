/**
 * Strassen's method: sums of quarters of the filters first, where they were not made in advance, then tiles that each go through all seven products
 * by themselves (assembly/conv/strassen.ts). Pairs of panels are the same whatever tiles are, for these begin where a pair does: so bits do not depend on
 * threads.
 */
import { findKernel } from '../../kernels/table.ts';
import { strassenPixels } from '../../plan/conv/slices.ts';
import type { Plan } from '../../plan/plan.ts';
import { constantsOf } from '../../plan/program.ts';
import { type ConvProblem, groupChannels } from '../../problem/conv.ts';
import { stretchesOf } from '../tiles.ts';
import { type Lowered, StepList } from './steps.ts';
import { imageProduct, weightForm } from './weights.ts';

export function lowerStrassen(p: ConvProblem, plan: Plan): Lowered {
  const kernel = findKernel(plan.kernel)!;
  const { mr, nr } = kernel;
  const channels = groupChannels(p);
  const [rows, pixels] = [p.outC / p.groups, p.outH * p.outW];
  const form = weightForm(p, plan)!;
  const list = new StepList(plan.threads);
  if (!p.prepacked) {
    list.steps.push(...form.steps);
    list.endPhase();
  }
  const most = strassenPixels(p, plan, kernel);
  for (const member of imageProduct(p).members) {
    const packedA = member.indexA * form.perGroup;
    for (const { from: n0, length: cols } of stretchesOf(pixels, most))
      list.add('strassenTile', { rows, n0, cols, packedA }, member);
  }
  // a panel of each of seven right sides and a sum of products; the columns that are no pair of panels have three sides of two
  const own = nr * ((7 * channels) / 2 + rows / 2);
  return {
    constants: constantsOf({
      mr,
      nr,
      kc: plan.kc,
      k: channels,
      ldb: pixels,
      ldc: pixels,
      stepA: (rows * channels) / 4,
    }),
    offsets: [],
    steps: list.steps,
    packedAElements: form.elements,
    packedBElements: 0,
    privateElements: own,
  };
}
