/** Panels made once for a right operand of 8-bit integers: of 16-bit pairs, and of bytes where the 8-bit dot product takes them. */
import type { Address } from '../../backends/types.ts';
import { shiftFor } from '../../backends/wasm/dot.ts';
import { TesseraeError } from '../../core/errors.ts';
import { roundUp } from '../../core/math.ts';
import { showShape, sizeOf } from '../../core/shape.ts';
import { applicableKernels } from '../../kernels/select.ts';
import { findKernel } from '../../kernels/table.ts';
import type { Plan } from '../../plan/plan.ts';
import type { Program } from '../../plan/program.ts';
import { matmulFromShapes } from '../../problem/matmul.ts';
import type { IntegerType, QmatmulProblem } from '../../problem/quantized.ts';
import {
  bytePanelElements,
  lowerPackBytes,
  lowerPackIntegers,
  pairPanelElements,
} from '../../schedule/lower/quantized.ts';
import { NO_OPERANDS } from '../../schedule/operands.ts';
import { badArgument, checkFlag, checkOptions } from '../arguments.ts';
import type { Core } from '../core.ts';
import { type Heap, type Held, Panels, viewOf } from '../tensor.ts';
import { IntegerFilters } from './filters.ts';
import { Parameters, readBytes, readZeros } from './operands.ts';
import type {
  ByteTensorLike,
  PrepackedFilters,
  PrepackedInteger,
  PrepackFiltersOptions,
  PrepackIntegerOptions,
  Values,
} from './types.ts';

/** Steps of k in a block, in words of two: 16 columns of them are half of a common first cache. */
const PANEL_KC = 256;
/** Width that serves one row as well as many, and from how many rows on the best kernel's own width is better. */
const PANEL_NR = 16;
const MANY_ROWS = 24;

type Panel = { readonly nr: number; readonly kc: number };

export class IntegerPanels implements PrepackedInteger, Held {
  readonly shape: readonly [number, number];
  readonly dtype: IntegerType;
  readonly zeros: readonly number[];
  /** Panels of bytes follow those of 16-bit pairs. */
  readonly hasBytes: boolean;
  readonly #panels: Panels;

  constructor(
    panels: Panels,
    shape: readonly [number, number],
    dtype: IntegerType,
    zeros: readonly number[],
    hasBytes: boolean,
  ) {
    this.hasBytes = hasBytes;
    this.#panels = panels;
    this.shape = shape;
    this.dtype = dtype;
    this.zeros = zeros;
  }

  get heap(): Heap {
    return this.#panels.block.heap;
  }

  get panel(): Panel {
    return this.#panels.panel;
  }

  get bytes(): number {
    return this.#panels.bytes;
  }

  get disposed(): boolean {
    return this.#panels.disposed;
  }

  place(): Address {
    return this.#panels.place();
  }

  done(): void {
    this.#panels.done();
  }

  dispose(): void {
    this.#panels.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Panels of this runtime, or undefined for anything else. */
export function readIntegerPanels(heap: Heap, value: unknown): IntegerPanels | undefined {
  if (!(value instanceof IntegerPanels)) return undefined;
  const { shape } = value;
  if (value.heap !== heap)
    throw new TesseraeError('E_FOREIGN', 'b was prepacked by another runtime', { shape }, 'Prepack it here.');
  if (value.disposed)
    throw new TesseraeError(
      'E_DISPOSED',
      'b is a disposed prepacked operand',
      { shape },
      'Dispose it after its last use.',
    );
  return value;
}

function widthFor(core: Core, problem: QmatmulProblem, m: number): number {
  if (m < MANY_ROWS) return PANEL_NR;
  const words = applicableKernels(problem, core.filter).filter(
    ({ dtype, family }) => dtype === 'i16' && family === 'packed',
  );
  const rated = { ...problem, plain: { ...problem.plain, m } };
  const best = core.planner
    .candidates(rated)
    .map(({ plan }) => findKernel(plan.kernel))
    .find((kernel) => kernel !== undefined && words.includes(kernel));
  return best?.nr ?? PANEL_NR;
}

/** The panels of a right operand that is packed once: a width for the usual number of rows, blocks of words of equal length. */
export function integerPanelFor(core: Core, problem: QmatmulProblem, m: number): Panel {
  const { k, n } = problem.plain;
  const words = Math.ceil(k / 2);
  const nr = k === 0 || n === 0 ? PANEL_NR : widthFor(core, problem, m);
  return { nr, kc: roundUp(Math.ceil(words / Math.max(1, Math.ceil(words / PANEL_KC))), 4) || 4 };
}

const OPTIONS: ReadonlySet<string> = new Set(['op', 'zeroPoint', 'transposeB', 'm']);
const FILTER_OPTIONS: ReadonlySet<string> = new Set(['op', 'zeroPoint']);

export function prepackInteger(
  core: Core,
  b: ByteTensorLike,
  options: PrepackIntegerOptions | PrepackFiltersOptions,
): PrepackedInteger | PrepackedFilters {
  core.checkOpen('prepack');
  core.tape?.spoil('weights are packed on the way');
  if (options?.op === 'conv') {
    checkOptions(options, FILTER_OPTIONS);
    return prepackFilters(core, b, options.zeroPoint);
  }
  checkOptions(options, OPTIONS);
  const { op = 'matmul', m = 1 } = options;
  if (op !== 'matmul') throw badArgument('op', op, "Use 'matmul' or 'conv'.");
  if (!Number.isSafeInteger(m) || m < 0)
    throw badArgument('m', m, 'The usual number of rows of the left operand.');
  const transposeB = checkFlag(options.transposeB, 'transposeB');
  const operand = readBytes(core.heap, b, 'b');
  if (operand.shape.length !== 2)
    throw new TesseraeError(
      'E_SHAPE',
      `b has rank ${operand.shape.length}, prepackInteger takes a matrix`,
      { shape: operand.shape },
      'Prepack each matrix of a batch by itself.',
    );
  const [rows, cols] = operand.shape as readonly [number, number];
  const [k, n] = transposeB ? [cols, rows] : [rows, cols];
  const zeros = readZeros(options.zeroPoint, operand.dtype, 'zeroPoint', n, 'column');
  const { problem: plain } = matmulFromShapes([1, k], operand.shape, { transposeB, exact: core.exact });
  const problem: QmatmulProblem = {
    op: 'qmatmul',
    plain,
    aType: 'u8',
    bType: operand.dtype,
    output: 'i32',
    exact: core.exact,
    bytePanels: false,
  };
  return withPlaced([operand], ([raw]) => {
    const panel = integerPanelFor(core, problem, m);
    const shift = byteShift(core, viewOf(core.heap, operand.dtype, raw!, k * n));
    const bytes = shift === undefined ? undefined : planFor(core, problem, panel, 'i8');
    const more = bytes ? bytePanelElements(k, n, panel.nr) : 0;
    const panels = new Panels(core.heap, [Math.ceil(k / 2), n], panel, more);
    try {
      if (k * n > 0) {
        const pairs = planFor(core, problem, panel, 'i16');
        if (!pairs) throw untrustedPanels(panel.nr);
        const { address } = panels.block;
        fill(core, lowerPackIntegers(problem, pairs), raw!, address, zeros);
        const behind = address + 4 * pairPanelElements(k, n, panel.nr);
        if (bytes) fill(core, lowerPackBytes(withBytes(problem, panel), bytes, shift!), raw!, behind, zeros);
      }
      return new IntegerPanels(panels, [k, n], operand.dtype, zeros, bytes !== undefined);
    } catch (error) {
      panels.dispose();
      throw error;
    }
  });
}

function withPlaced<T>(operands: readonly Held[], use: (addresses: readonly Address[]) => T): T {
  const held: Held[] = [];
  try {
    const addresses = operands.map((operand) => {
      const address = operand.place();
      held.push(operand);
      return address;
    });
    return use(addresses);
  } finally {
    for (const operand of held) operand.done();
  }
}

/** What bytes gain in their panels, or undefined where this engine's 8-bit dot product cannot take them all. */
function byteShift(core: Core, bytes: ArrayLike<number>): number | undefined {
  const range = core.dotRange;
  if (range === undefined || bytes.length === 0) return undefined;
  let [low, high] = [bytes[0]!, bytes[0]!];
  for (let i = 1; i < bytes.length; i++) {
    const byte = bytes[i]!;
    if (byte < low) low = byte;
    else if (byte > high) high = byte;
  }
  return shiftFor(range, low, high);
}

/** The problem as its calls will see it: a prepacked operand with both kinds of panels. */
function withBytes(problem: QmatmulProblem, panel: Panel): QmatmulProblem {
  return { ...problem, bytePanels: true, plain: { ...problem.plain, prepackedB: true, panel } };
}

/** A plan whose kernel reads panels of this width and kind, or undefined where none may be trusted. */
function planFor(core: Core, problem: QmatmulProblem, panel: Panel, kind: 'i16' | 'i8'): Plan | undefined {
  const { nr, kc } = panel;
  const kernel = applicableKernels(withBytes(problem, panel), core.filter).find(
    ({ dtype, family, nr: width }) => dtype === kind && family === 'packed' && width === nr,
  );
  if (!kernel) return undefined;
  const fixed = { backend: 'wasm', algorithm: 'gemm', packing: 'ab', order: 'mn' } as const;
  const words = kind === 'i8' ? kc / 2 : kc;
  return { ...fixed, kernel: kernel.name, mc: kernel.mr, kc: words, nc: nr, threads: 1 };
}

function untrustedPanels(nr: number): TesseraeError {
  return new TesseraeError(
    'E_KERNEL',
    `no kernel for panels ${nr} wide may be trusted`,
    { nr },
    'Pass b as a tensor.',
  );
}

function fill(core: Core, program: Program, raw: Address, packedB: Address, zeros: readonly number[]): void {
  const one = [1];
  const quantization = () => ({ zeroA: [0], zeroB: zeros, scaleA: one, scaleB: one, scaleY: 1, zeroY: 0 });
  const parameters = new Parameters(core.heap, quantization, { swapped: false });
  withPlaced([parameters], ([quantized]) => {
    core.executor.runOnce(program, { ...NO_OPERANDS, b: raw, packedB, quantized });
  });
}

function prepackFilters(core: Core, w: ByteTensorLike, zeroPoint: Values | undefined): PrepackedFilters {
  const operand = readBytes(core.heap, w, 'w');
  const { shape, dtype } = operand;
  if (shape.length !== 4)
    throw new TesseraeError(
      'E_SHAPE',
      `w has shape ${showShape(shape)}`,
      { shape },
      'Filters are [outC, inC / groups, kH, kW].',
    );
  const zeros = readZeros(zeroPoint, dtype, 'zeroPoint', shape[0]!, 'channel');
  const filters = new IntegerFilters(core.heap, shape, dtype, zeros);
  try {
    const count = sizeOf(shape);
    const from = operand.place();
    viewOf(core.heap, dtype, filters.place(), count).set(viewOf(core.heap, dtype, from, count));
    filters.done();
    operand.done();
    return filters;
  } catch (error) {
    filters.dispose();
    throw error;
  }
}
