/**
 * Winograd's minimal filtering: transformed weights (panels of A, one matrix for each of alpha^2 points), transformed tiles
 * of the image (panels of B), as many products, and the transform back.
 *
 * A slice is some whole rows of tiles. Where there are enough of them, each is one thread's from the image to the result, and nobody
 * waits. Else its input is transformed by channels, which threads share; then blocks of output channels multiply and transform back.
 * The products of a block stay in the thread's own space.
 */
import { roundUp } from '../../core/math.ts';
import { findKernel } from '../../kernels/table.ts';
import { winogradSides, winogradSlices } from '../../plan/conv/slices.ts';
import type { Plan } from '../../plan/plan.ts';
import { constantsOf } from '../../plan/program.ts';
import { type ConvProblem, groupChannels } from '../../problem/conv.ts';
import { stretchesOf } from '../tiles.ts';
import { imageConstants, paddedPlanes } from './image.ts';
import { type Lowered, StepList } from './steps.ts';
import { imageProduct, weightForm } from './weights.ts';

/** Floats that the transforms need beside their operands: `winogradScratchBytes` of assembly/conv/winograd.ts. */
function winogradScratch(side: number, alpha: number, tilesX: number): number {
  // rows of tiles in a pass, and those below them that share inputs with its last one
  const rows = 8 + Math.floor((alpha - 1) / side);
  return side * alpha * roundUp(rows * tilesX + 4, 4) + side * roundUp(tilesX, 4) + 28;
}

/** Matrices of the transformed image stand a cache line more than their size apart: at a multiple of 1 KiB the lines that one
 *  group of tiles writes would fall into the same sets of the cache (1.7 times slower on Node 20 and 24). */
const APART = 16;
const CACHE_LINE = 16;

export function lowerWinograd(p: ConvProblem, plan: Plan): Lowered {
  const kernel = findKernel(plan.kernel)!;
  const { mr, nr } = kernel;
  const { side, alpha } = winogradSides(p, plan.algorithm);
  const { tilesX, tilesY, sliceRows, alone, rows: shared } = winogradSlices(p, plan, kernel);
  const tiles = roundUp(sliceRows * tilesX, nr);
  const channels = groupChannels(p);
  const form = weightForm(p, plan)!;
  const outC = p.outC / p.groups;
  const list = new StepList(plan.threads);
  if (!p.prepacked) {
    list.steps.push(...form.steps);
    list.endPhase();
  }
  for (const member of imageProduct(p).members) {
    for (const { from: n0, length: cols } of stretchesOf(tilesY, sliceRows)) {
      const packedA = member.indexA * form.perGroup;
      if (alone) {
        list.add('winogradSlice', { n0, cols, ks: channels, rows: outC, packedA }, member);
        continue;
      }
      const perChannel = alpha * alpha * cols * tilesX;
      list.addStretches('winogradInput', channels, perChannel, 1, (k0, ks) => ({ n0, cols, k0, ks }), member);
      list.endPhase();
      for (const { from: m0, length: rows } of stretchesOf(outC, shared))
        list.add('winogradTile', { m0, rows, n0, cols, packedA }, member);
      list.endPhase();
    }
  }
  const stepB = tiles * channels + APART;
  const blockRows = Math.min(alone ? plan.mc : shared, outC);
  const own = roundUp(
    alpha * alpha * roundUp(blockRows, mr) * tiles + winogradScratch(side, alpha, tilesX),
    CACHE_LINE,
  );
  const constants = constantsOf({
    ...imageConstants(p, paddedPlanes(p)),
    mr,
    nr,
    k: channels,
    channels,
    outChannels: p.outC,
    mPadded: roundUp(outC, mr),
    nPadded: tiles,
    tilesX,
    tileSide: side,
    stepA: roundUp(outC, mr) * channels,
    stepB,
    ...(alone ? { ownB: own, blockRows } : {}),
  });
  return {
    constants,
    offsets: [],
    steps: list.steps,
    packedAElements: form.elements,
    packedBElements: alone ? 0 : alpha * alpha * stepB,
    privateElements: own + (alone ? alpha * alpha * stepB : 0),
  };
}
