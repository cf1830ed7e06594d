/** Every operator that is run, by its name in the standard. */
import { ATTENTION } from './attention.ts';
import { CONTROL } from './control.ts';
import { CONVOLUTION } from './convolution.ts';
import { EINSUM } from './einsum.ts';
import { ELEMENTWISE } from './elementwise.ts';
import { INTEGERS } from './integers.ts';
import { LOSSES } from './losses.ts';
import { MATRIX } from './matrix.ts';
import { PLACES } from './places.ts';
import { POOLING } from './pooling.ts';
import { RANDOM } from './random.ts';
import { RECURRENT } from './recurrent.ts';
import { REDUCTION } from './reduction.ts';
import { RESIZE } from './resize.ts';
import { SAMPLING } from './sampling.ts';
import { SIGNAL } from './signal.ts';
import { TENSOR } from './tensor.ts';
import type { Operators } from './types.ts';

export const OPERATORS: Operators = {
  ...ELEMENTWISE,
  ...TENSOR,
  ...REDUCTION,
  ...CONVOLUTION,
  ...POOLING,
  ...RESIZE,
  ...MATRIX,
  ...PLACES,
  ...CONTROL,
  ...RANDOM,
  ...RECURRENT,
  ...INTEGERS,
  ...EINSUM,
  ...SAMPLING,
  ...SIGNAL,
  ...LOSSES,
  ...ATTENTION,
};
