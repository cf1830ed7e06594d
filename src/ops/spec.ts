/** Problems as users write them: `1x4096x4096` (m x k x n), `12x64x128x64` (batch first), or an object. */
import { TesseraeError } from '../core/errors.ts';
import { checkShape } from '../core/shape.ts';
import { show } from '../core/show.ts';
import { type ConvProblem, termsOf } from '../problem/conv.ts';
import { type BiasKind, readActivation } from '../problem/epilogue.ts';
import type { Halves } from '../problem/halves.ts';
import { type MatmulProblem, matmulProblem } from '../problem/matmul.ts';
import { type Problem, resultElements } from '../problem/problem.ts';
import { badArgument, checkFlag, checkOptions } from './arguments.ts';
import { convFromShapes } from './conv.ts';
import type { Core } from './core.ts';
import { panelFor } from './prepack.ts';
import { readIntegerSpec } from './quantized/spec.ts';
import type { ConvSpec, MatmulSpec, ProblemSpec } from './types.ts';

const HINT = "Write 'MxKxN' or 'BATCHxMxKxN', { m, k, n }, or { op: 'conv', input, weights }.";

function badSpec(spec: unknown): TesseraeError {
  return new TesseraeError('E_ARGUMENT', `${show(spec)} is no problem`, { problem: spec }, HINT);
}

const FIELDS: ReadonlySet<string> = new Set([
  'op',
  'batch',
  'm',
  'k',
  'n',
  'transposeA',
  'transposeB',
  'bias',
  'activation',
  'prepacked',
  'storage',
]);
const BIASES: readonly BiasKind[] = ['none', 'row', 'column'];

function fromText(text: string): { batch: number; m: number; k: number; n: number } {
  const numbers = text.trim().toLowerCase().split('x').map(Number);
  if (numbers.length < 3 || numbers.length > 4) throw badSpec(text);
  const [n, k, m, batch = 1] = numbers.reverse() as [number, number, number, number?];
  return { batch, m, k, n };
}

const CONV_FIELDS: ReadonlySet<string> = new Set([
  'op',
  'input',
  'weights',
  'stride',
  'padding',
  'dilation',
  'groups',
  'layout',
  'algorithm',
  'bias',
  'activation',
  'residual',
  'prepacked',
  'storage',
]);

function readHalves(storage: unknown): Halves {
  if (storage === undefined || storage === 'f32') return 'none';
  if (storage === 'f16') return 'ab';
  throw badArgument('storage', storage, "Use 'f32' or 'f16'.");
}

function readConvSpec(core: Core, spec: ConvSpec): ConvProblem {
  checkOptions(spec, CONV_FIELDS);
  const traits = {
    bias: checkFlag(spec.bias, 'bias'),
    residual: checkFlag(spec.residual, 'residual'),
    prepacked: checkFlag(spec.prepacked, 'prepacked'),
    activation: readActivation(spec.activation).kind,
    halves: readHalves(spec.storage),
  };
  const input = checkShape(spec.input, 'input');
  const problem = convFromShapes(core, input, checkShape(spec.weights, 'weights'), spec, traits);
  if (resultElements(problem) === 0 || termsOf(problem) === 0) throw badSpec(spec);
  return problem;
}

export function readSpec(core: Core, spec: ProblemSpec): Problem {
  if (typeof spec !== 'string' && (typeof spec !== 'object' || spec === null)) throw badSpec(spec);
  if (typeof spec === 'object' && spec.op === 'conv') return readConvSpec(core, spec);
  if (typeof spec === 'object' && (spec.op === 'matmulInteger' || spec.op === 'convInteger'))
    return readIntegerSpec(core, spec);
  return readMatmulSpec(core, spec);
}

function readMatmulSpec(core: Core, spec: string | MatmulSpec): MatmulProblem {
  const { exact } = core;
  const extents = typeof spec === 'string' ? fromText(spec) : { batch: 1, ...spec };
  const { batch, m, k, n } = extents;
  for (const extent of [batch, m, k, n]) if (!Number.isSafeInteger(extent) || extent < 1) throw badSpec(spec);
  for (const [rows, cols] of [
    [m, k],
    [k, n],
    [m, n],
  ] as const)
    checkShape([batch, rows, cols], 'problem');
  if (typeof spec === 'string') return matmulProblem({ batch, m, n, k }, { exact });
  checkOptions(spec, FIELDS);
  const { bias = 'none' } = spec;
  if (!BIASES.includes(bias)) throw badArgument('bias', bias, `Use one of ${BIASES.join(', ')}.`);
  const traits = {
    transposeA: checkFlag(spec.transposeA, 'transposeA'),
    bias,
    activation: readActivation(spec.activation).kind,
    exact,
    halves: readHalves(spec.storage),
  };
  const plain = matmulProblem(
    { batch, m, n, k },
    { ...traits, transposeB: checkFlag(spec.transposeB, 'transposeB') },
  );
  if (!checkFlag(spec.prepacked, 'prepacked')) return plain;
  // panels are the same however b was stored
  const rows = batch === 1 || traits.transposeA ? m : m * batch;
  const members = rows === m ? batch : 1;
  return matmulProblem(
    { batch: members, m: rows, n, k },
    { ...traits, panel: panelFor(core, matmulProblem({ m: 1, n, k }, { exact }), m) },
  );
}
