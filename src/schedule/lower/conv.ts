/** A convolution to steps, one way for each algorithm. NCHW: A is the weights, B the image; NHWC: the other way around. */
import { roundUp } from '../../core/math.ts';
import { findKernel } from '../../kernels/table.ts';
import { directTile, patchPixels } from '../../plan/conv/slices.ts';
import type { Pair } from '../../plan/pairs.ts';
import type { Plan } from '../../plan/plan.ts';
import { constantsOf, type Program } from '../../plan/program.ts';
import { type ConvProblem, groupChannels, isPlainProduct, termsOf } from '../../problem/conv.ts';
import { stretchesOf, tilesOf } from '../tiles.ts';
import { lowerDepthwise, lowerDepthwiseNhwc } from './depthwise.ts';
import { lowerProduct, type Product, productConstants } from './gemm.ts';
import {
  imageConstants,
  imageEpilogue,
  imageGroups,
  type Padded,
  paddedPlanes,
  padPlanes,
  stepOffsets,
} from './image.ts';
import { lowerSegments } from './segments.ts';
import { type Lowered, type Member, StepList } from './steps.ts';
import { lowerStrassen } from './strassen.ts';
import { imageProduct, pixelProduct, weightForm } from './weights.ts';
import { lowerWinograd } from './winograd.ts';

function lowerAsProduct(p: ConvProblem, plan: Plan): Lowered {
  const product = p.layout === 'nchw' ? imageProduct(p) : pixelProduct(p);
  const packed: Product = {
    ...product,
    packedA: p.layout === 'nchw' && p.prepacked && plan.packing === 'ab',
    packedB: p.layout === 'nhwc' && p.prepacked,
  };
  return { ...lowerProduct(packed, plan), offsets: [], privateElements: 0 };
}

/** The part of a group of images: members in the group's order with their padded planes. */
function membersOf(p: ConvProblem, product: Product, image: Padded, from: number, images: number) {
  const first = from * p.groups;
  return product.members.slice(first, first + images * p.groups).map((member: Member, index) => ({
    member,
    packedB: image.copied ? index * groupChannels(p) * image.planePitch : 0,
  }));
}

/** Tiles over a padded image, after the steps that pad it; `tilesOfMember` says which tiles each group has. */
function lowerOverPlanes(
  p: ConvProblem,
  plan: Plan,
  op: 'patchTile' | 'offsetTile',
  tilesOfMember: readonly { m0: number; rows: number; n0: number; cols: number }[],
): Omit<Lowered, 'privateElements'> {
  const product = imageProduct(p);
  const image = paddedPlanes(p);
  const list = new StepList(plan.threads);
  const form = weightForm(p, plan);
  if (form && !p.prepacked) {
    list.steps.push(...form.steps);
    list.endPhase();
  }
  const perImage = image.copied ? p.inC * image.planePitch : 0;
  let packedBElements = 0;
  for (const { from, length } of imageGroups(p, perImage)) {
    if (image.copied) {
      padPlanes(list, p, image, from, length);
      list.endPhase();
    }
    packedBElements = Math.max(packedBElements, length * perImage);
    for (const { member, packedB } of membersOf(p, product, image, from, length)) {
      const packedA = form ? member.indexA * form.perGroup : 0;
      for (const tile of tilesOfMember) list.add(op, { packedA, packedB, ...tile }, member);
    }
    list.endPhase();
  }
  const constants = constantsOf({
    ...productConstants(product, plan),
    ...imageConstants(p, image),
    directA: form ? 0 : 1,
    directB: image.copied ? 0 : 1,
  });
  return {
    constants,
    offsets: stepOffsets(p, image),
    steps: list.steps,
    packedAElements: form ? form.elements : 0,
    packedBElements,
  };
}

function lowerImplicit(
  p: ConvProblem,
  plan: Plan,
  nc = patchPixels(p, plan, findKernel(plan.kernel)!),
): Lowered {
  const kernel = findKernel(plan.kernel)!;
  const pixels = p.outH * p.outW;
  const tiles = tilesOf(p.outC / p.groups, pixels, plan.mc, nc, plan.order);
  const columns = roundUp(Math.min(nc, pixels), kernel.nr);
  const privateElements = columns * Math.min(plan.kc, termsOf(p));
  const lowered = lowerOverPlanes(p, plan, 'patchTile', tiles);
  // a plane whose pixels are read as they lie is one long row: no panel ends where a row does
  const constants = isPlainProduct(p) ? { ...lowered.constants, outW: pixels } : lowered.constants;
  return { ...lowered, constants, privateElements };
}

function lowerDirect(p: ConvProblem, plan: Plan): Lowered {
  const tile = directTile(p, plan, findKernel(plan.kernel)!);
  const channels = stretchesOf(p.outC / p.groups, tile.channels);
  const rows = stretchesOf(p.outH, tile.rows);
  const tiles = rows.flatMap(({ from: n0, length: cols }) =>
    channels.map(({ from: m0, length }) => ({ m0, rows: length, n0, cols })),
  );
  return { ...lowerOverPlanes(p, plan, 'offsetTile', tiles), privateElements: 0 };
}

function lowerBy(p: ConvProblem, plan: Plan): Lowered {
  const nchw = p.layout === 'nchw';
  switch (plan.algorithm) {
    case 'gemm':
      return lowerAsProduct(p, plan);
    case 'implicit':
      return lowerImplicit(p, plan);
    case 'direct':
      return nchw ? lowerDirect(p, plan) : lowerSegments(p, plan);
    case 'depthwise':
      return nchw ? lowerDepthwise(p, plan) : lowerDepthwiseNhwc(p, plan);
    case 'winograd2':
    case 'winograd4':
      return lowerWinograd(p, plan);
    case 'strassen':
      return lowerStrassen(p, plan);
    case 'fixed':
      throw new Error('a convolution is not pooled');
    default:
      throw new Error(`no steps for ${plan.algorithm satisfies never}`);
  }
}

export function lowerConv(p: ConvProblem, plan: Plan): Program {
  return { problem: p, plan, epilogue: imageEpilogue(p), ...lowerBy(p, plan) };
}

/** The second of two convolutions, whose tiles compute what they need of the first: whole rows. `k0` is the image of the batch. */
export function lowerPair(p: ConvProblem, { plan, rows }: Pair): Program {
  const lowered = lowerImplicit(p, plan, rows * p.outW);
  const image = p.inC * p.inH * p.inW;
  const steps = lowered.steps.map((step) =>
    step.op === 'patchTile' ? { ...step, k0: step.b / image } : step,
  );
  return { problem: p, plan, epilogue: imageEpilogue(p), ...lowered, steps };
}

/** Only the steps that bring the weights into the form that a plan reads, or undefined where it reads them in place. */
export function lowerWeights(p: ConvProblem, plan: Plan): Program | undefined {
  const form = weightForm(p, plan);
  if (!form) return undefined;
  const program = lowerConv(p, plan);
  return { ...program, steps: form.steps };
}
