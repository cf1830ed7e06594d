/** Every operator that is run, by its name in the standard. */
import { ATTENTION } from './attention.ts';
import { CONTROL } from './control.ts';
import { EINSUM } from './einsum.ts';
import { ELEMENTWISE } from './elementwise.ts';
import { INTEGERS } from './integers.ts';
import { LOSSES } from './losses.ts';
import { MATRIX } from './matrix.ts';
import { PLACES } from './places.ts';
import { RECURRENT } from './recurrent.ts';
import { REDUCTION } from './reduction.ts';
import { SAMPLING } from './sampling.ts';
import { SIGNAL } from './signal.ts';
import { SPATIAL } from './spatial.ts';
import { TENSOR } from './tensor.ts';
import type { Operators } from './types.ts';

export const OPERATORS: Operators = {
  ...ELEMENTWISE,
  ...TENSOR,
  ...REDUCTION,
  ...SPATIAL,
  ...MATRIX,
  ...PLACES,
  ...CONTROL,
  ...RECURRENT,
  ...INTEGERS,
  ...EINSUM,
  ...SAMPLING,
  ...SIGNAL,
  ...LOSSES,
  ...ATTENTION,
};
