/** Is the answer right? How that is found out depends on the kind of shape and on its size. */
import type { Operands } from './operands.ts';
import { methodForConv, verifyConv } from './verify/conv.ts';
import { methodForMatmul, verifyMatmul } from './verify/matmul.ts';
import { methodForQmatmul, verifyQmatmul } from './verify/qmatmul.ts';
import type { Verdict, VerifyMethod } from './verify/tolerance.ts';

export { activate, type MeasuredError, type Verdict, type VerifyMethod } from './verify/tolerance.ts';

/** What comes out: floats of floats, 32-bit integers of 8-bit ones. */
export type Result = Float32Array | Int32Array;

export function methodFor(operands: Operands): VerifyMethod {
  switch (operands.kind) {
    case 'matmul':
      return methodForMatmul(operands);
    case 'conv':
      return methodForConv(operands);
    case 'qmatmul':
      return methodForQmatmul(operands);
    default:
      return operands satisfies never;
  }
}

export function verify(operands: Operands, result: Result, method = methodFor(operands)): Verdict {
  if (operands.kind === 'qmatmul') {
    if (!(result instanceof Int32Array)) return wrongType(result, method);
    return verifyQmatmul(operands, result, method);
  }
  if (!(result instanceof Float32Array)) return wrongType(result, method);
  return operands.kind === 'conv'
    ? verifyConv(operands, result, method)
    : verifyMatmul(operands, result, method);
}

function wrongType(result: Result, method: VerifyMethod): Verdict {
  return { ok: false, method, reason: `the result is a ${result.constructor.name}` };
}
