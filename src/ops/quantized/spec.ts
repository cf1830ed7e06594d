/** Problems of 8-bit integers as users write them for `explain`, `prepare` and `tune`. */
import { checkShape } from '../../core/shape.ts';
import { show } from '../../core/show.ts';
import { matmulProblem } from '../../problem/matmul.ts';
import { resultElements } from '../../problem/problem.ts';
import {
  depthOf,
  type IntegerOutput,
  type IntegerType,
  mostOf,
  type QmatmulProblem,
  type QuantizedProblem,
} from '../../problem/quantized.ts';
import { badArgument, checkFlag, checkOptions } from '../arguments.ts';
import { convFromShapes } from '../conv.ts';
import type { Core } from '../core.ts';
import { readZeros } from './operands.ts';
import { type IntegerPanels, integerPanelFor, readIntegerPanels } from './prepack.ts';
import type { ConvIntegerSpec, MatmulIntegerSpec } from './types.ts';

const TYPES = ['aType', 'bType', 'output'];
const PRODUCT: ReadonlySet<string> = new Set([
  'op',
  'batch',
  'm',
  'k',
  'n',
  'transposeB',
  'prepacked',
  ...TYPES,
]);
const GEOMETRY = ['stride', 'padding', 'dilation', 'groups', 'layout'];
const CONVOLUTION: ReadonlySet<string> = new Set([
  ...['op', 'input', 'weights', 'prepacked', 'xZeroPoint', 'wZeroPoint'],
  ...GEOMETRY,
  ...TYPES,
]);
const OUTPUTS: readonly IntegerOutput[] = ['i32', 'u8', 'i8', 'f32'];

function readType(type: IntegerType | undefined, fallback: IntegerType, name: string): IntegerType {
  if (type === undefined) return fallback;
  if (type === 'u8' || type === 'i8') return type;
  throw badArgument(name, type, 'Use u8 or i8.');
}

export function readIntegerSpec(core: Core, spec: MatmulIntegerSpec | ConvIntegerSpec): QuantizedProblem {
  checkOptions(spec, spec.op === 'matmulInteger' ? PRODUCT : CONVOLUTION);
  const { output = 'i32' } = spec;
  if (!OUTPUTS.includes(output)) throw badArgument('output', output, `Use one of ${OUTPUTS.join(', ')}.`);
  const types = {
    aType: readType(spec.aType, 'u8', 'aType'),
    bType: readType(spec.bType, 'i8', 'bType'),
    output,
    exact: core.exact,
  };
  const problem =
    spec.op === 'matmulInteger' ? productOf(core, spec, types) : convolutionOf(core, spec, types);
  if (resultElements(problem) === 0 || depthOf(problem) === 0)
    throw badArgument('problem', show(spec), 'Extents of a problem are at least 1.');
  return problem;
}

type Types = Pick<QuantizedProblem, 'aType' | 'bType' | 'output' | 'exact'>;

function productOf(core: Core, spec: MatmulIntegerSpec, types: Types): QuantizedProblem {
  const { batch = 1, m, k, n } = spec;
  for (const extent of [batch, m, k, n])
    if (!Number.isSafeInteger(extent) || extent < 1)
      throw badArgument('problem', show(spec), 'Give m, k and n.');
  const transposeB = checkFlag(spec.transposeB, 'transposeB');
  const extents = { batch, m, k, n };
  const plain = matmulProblem(extents, { transposeB, exact: core.exact });
  const problem: QmatmulProblem = { op: 'qmatmul', plain, bytePanels: false, ...types };
  const panels = readIntegerPanels(core.heap, spec.prepacked);
  if (panels) return withPanels(problem, panels, extents);
  if (!checkFlag(spec.prepacked as boolean | undefined, 'prepacked')) return problem;
  // panels are the same however b was stored and whatever the rows are
  const lone: QmatmulProblem = { ...problem, plain: { ...plain, batch: 1, m: 1, transposeB: false } };
  const panel = integerPanelFor(core, lone, m);
  // of weights that are not here the worst is expected
  const bytePanels = batch === 1 && (core.dotRange === 'unsigned' || core.dotRange === 'signed');
  return { ...problem, bytePanels, plain: matmulProblem(extents, { panel, exact: core.exact }) };
}

function withPanels(
  problem: QmatmulProblem,
  { shape, panel, hasBytes, dtype }: IntegerPanels,
  extents: { readonly batch: number; readonly m: number; readonly n: number; readonly k: number },
): QmatmulProblem {
  const { k, n, batch } = extents;
  if (shape[0] !== k || shape[1] !== n || dtype !== problem.bType)
    throw badArgument('prepacked', shape, `It is ${dtype}, [${shape}], not ${problem.bType}, [${k}, ${n}].`);
  const plain = matmulProblem(extents, { panel, exact: problem.exact });
  return { ...problem, bytePanels: hasBytes && batch === 1, plain };
}

function convolutionOf(core: Core, spec: ConvIntegerSpec, types: Types): QuantizedProblem {
  const prepacked = checkFlag(spec.prepacked, 'prepacked');
  const traits = { bias: false, residual: false, activation: 'none', prepacked } as const;
  const input = checkShape(spec.input, 'input');
  const { stride, padding, dilation, groups, layout } = spec;
  const geometry = { stride, padding, dilation, groups, layout };
  const plain = convFromShapes(core, input, checkShape(spec.weights, 'weights'), geometry, traits);
  const zeroA = readZeros(spec.xZeroPoint, types.aType, 'xZeroPoint', 1, 'image');
  const zeroB = readZeros(spec.wZeroPoint, types.bType, 'wZeroPoint', plain.outC, 'channel');
  const most = { aMost: mostOf(types.aType, zeroA), bMost: mostOf(types.bType, zeroB) };
  return { op: 'qconv', plain, ...types, ...most };
}
