/** Is the answer right? How that is found out depends on the kind of shape and on its size. */
import type { Operands } from './operands.ts';
import { methodForConv, verifyConv } from './verify/conv.ts';
import { methodForMatmul, verifyMatmul } from './verify/matmul.ts';
import type { Verdict, VerifyMethod } from './verify/tolerance.ts';

export { activate, type MeasuredError, type Verdict, type VerifyMethod } from './verify/tolerance.ts';

export function methodFor(operands: Operands): VerifyMethod {
  return operands.kind === 'conv' ? methodForConv(operands) : methodForMatmul(operands);
}

export function verify(operands: Operands, result: Float32Array, method = methodFor(operands)): Verdict {
  return operands.kind === 'conv'
    ? verifyConv(operands, result, method)
    : verifyMatmul(operands, result, method);
}
