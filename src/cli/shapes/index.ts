/** The named shape lists; a new list is a file and a line here. */
import { CONVOLUTIONS } from './convolutions.ts';
import { GEMV } from './gemv.ts';
import { GPU } from './gpu.ts';
import { INT8 } from './int8.ts';
import { MOBILENETV2 } from './mobilenetv2.ts';
import { PRIMES } from './primes.ts';
import { EPILOGUES, QUICK, REGRET } from './quick.ts';
import { RESNET50 } from './resnet50.ts';
import { SQUARES } from './squares.ts';
import { TALLWIDE } from './tallwide.ts';
import { BERT_BASE, GPT2_DECODE, GPT2_PREFILL, VIT_B16 } from './transformers.ts';
import type { ShapeList } from './types.ts';

export const SHAPE_LISTS: readonly ShapeList[] = [
  QUICK,
  SQUARES,
  PRIMES,
  TALLWIDE,
  GEMV,
  RESNET50,
  MOBILENETV2,
  BERT_BASE,
  VIT_B16,
  GPT2_PREFILL,
  GPT2_DECODE,
  EPILOGUES,
  REGRET,
  ...CONVOLUTIONS,
  INT8,
  GPU,
];

export function shapeList(name: string): ShapeList | undefined {
  return SHAPE_LISTS.find((list) => list.name === name);
}

export { CONV_KINDS, type ConvKind, convExtents, convKind, isDepthwise } from './conv.ts';
export { floatForm } from './int8.ts';
export { ShapeSyntaxError } from './syntax.ts';
export { parseMatmul, parseShape, parseShapeFile, printExtents, printShape } from './text.ts';
export type { ConvShape, MatmulShape, QmatmulShape, Shape, ShapeActivation, ShapeList } from './types.ts';
