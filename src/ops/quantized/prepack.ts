/** Panels of 16-bit words made once for a right operand of 8-bit integers. */
import type { Address } from '../../backends/types.ts';
import { TesseraeError } from '../../core/errors.ts';
import { roundUp } from '../../core/math.ts';
import { applicableKernels } from '../../kernels/select.ts';
import { findKernel } from '../../kernels/table.ts';
import type { Plan } from '../../plan/plan.ts';
import { matmulFromShapes } from '../../problem/matmul.ts';
import type { IntegerType, QmatmulProblem } from '../../problem/quantized.ts';
import { NO_OPERANDS } from '../../schedule/execute.ts';
import { lowerPackIntegers } from '../../schedule/lower/quantized.ts';
import { badArgument, checkFlag, checkOptions } from '../arguments.ts';
import type { Core } from '../core.ts';
import { type Heap, type Held, Panels } from '../tensor.ts';
import { Parameters, readBytes, readZeros } from './operands.ts';
import type { ByteTensorLike, PrepackedInteger, Values } from './types.ts';

/** Steps of k in a block, in words of two: 16 columns of them are half of a common first cache. */
const PANEL_KC = 256;
/** Width that serves one row as well as many, and from how many rows on the best kernel's own width is better. */
const PANEL_NR = 16;
const MANY_ROWS = 24;

export class IntegerPanels implements PrepackedInteger, Held {
  readonly shape: readonly [number, number];
  readonly dtype: IntegerType;
  readonly zeros: readonly number[];
  readonly #panels: Panels;

  constructor(
    panels: Panels,
    shape: readonly [number, number],
    dtype: IntegerType,
    zeros: readonly number[],
  ) {
    this.#panels = panels;
    this.shape = shape;
    this.dtype = dtype;
    this.zeros = zeros;
  }

  get heap(): Heap {
    return this.#panels.block.heap;
  }

  get panel(): { readonly nr: number; readonly kc: number } {
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
export function integerPanelFor(
  core: Core,
  problem: QmatmulProblem,
  m: number,
): { readonly nr: number; readonly kc: number } {
  const { k, n } = problem.plain;
  const words = Math.ceil(k / 2);
  const nr = k === 0 || n === 0 ? PANEL_NR : widthFor(core, problem, m);
  return { nr, kc: roundUp(Math.ceil(words / Math.max(1, Math.ceil(words / PANEL_KC))), 4) || 4 };
}

const OPTIONS: ReadonlySet<string> = new Set(['zeroPoint', 'transposeB', 'm']);

export function prepackInteger(
  core: Core,
  b: ByteTensorLike,
  options: { readonly zeroPoint?: Values; readonly transposeB?: boolean; readonly m?: number },
): PrepackedInteger {
  core.checkOpen('prepack');
  checkOptions(options, OPTIONS);
  const { m = 1 } = options;
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
  };
  const panels = new Panels(core.heap, [Math.ceil(k / 2), n], integerPanelFor(core, problem, m));
  try {
    if (k > 0 && n > 0) fill(core, problem, panels, operand, zeros);
    return new IntegerPanels(panels, [k, n], operand.dtype, zeros);
  } catch (error) {
    panels.dispose();
    throw error;
  }
}

function fill(
  core: Core,
  problem: QmatmulProblem,
  panels: Panels,
  operand: Held,
  zeros: readonly number[],
): void {
  const { nr, kc } = panels.panel;
  const kernel = applicableKernels(problem, core.filter).find(
    ({ dtype, family, nr: width }) => dtype === 'i16' && family === 'packed' && width === nr,
  );
  if (!kernel)
    throw new TesseraeError(
      'E_KERNEL',
      `no kernel for panels ${nr} wide may be trusted`,
      { nr },
      'Pass b as a tensor.',
    );
  const one = [1];
  const quantization = () => ({ zeroA: [0], zeroB: zeros, scaleA: one, scaleB: one, scaleY: 1, zeroY: 0 });
  const parameters = new Parameters(core.heap, quantization, { swapped: false });
  const fixed = { backend: 'wasm', algorithm: 'gemm', packing: 'ab', order: 'mn' } as const;
  const plan: Plan = { ...fixed, kernel: kernel.name, mc: kernel.mr, kc, nc: nr, threads: 1 };
  const held: Held[] = [];
  const place = (one: Held) => {
    const address = one.place();
    held.push(one);
    return address;
  };
  try {
    const operands = { ...NO_OPERANDS, b: place(operand), quantized: place(parameters) };
    core.executor.runOnce(lowerPackIntegers(problem, plan), { ...operands, packedB: panels.block.address });
  } finally {
    for (const one of held) one.done();
  }
}
