/** Panels made once for a right operand that many calls share, such as a weight matrix. */
import { TesseraeError } from '../core/errors.ts';
import { roundUp } from '../core/math.ts';
import { show } from '../core/show.ts';
import { applicableKernels } from '../kernels/select.ts';
import { findKernel, type Kernel } from '../kernels/table.ts';
import type { Plan } from '../plan/plan.ts';
import { type MatmulProblem, matmulFromShapes } from '../problem/matmul.ts';
import { lowerPackB } from '../schedule/lower/gemm.ts';
import { NO_OPERANDS } from '../schedule/operands.ts';
import { badArgument, checkFlag, checkOptions } from './arguments.ts';
import type { Core } from './core.ts';
import { readOperand } from './operands.ts';
import { Panels } from './tensor.ts';
import type { Prepacked, PrepackOptions, TensorLike } from './types.ts';

/** Block of k in panels: 256 steps of 16 columns are 16 KiB, half of a common first cache. */
const PANEL_KC = 256;
/** Width that serves one row (four accumulators cover the latency of a multiply-add) as well as many. */
const PANEL_NR = 16;
/** From this many rows on, the width of the kernel that is best for many rows is worth more than a fast single row. */
const MANY_ROWS = 24;

/** Panels for a plain problem whose right operand is to be packed once: a width that has kernels of one row and of
 *  several, blocks of k of equal length. */
export function panelFor(
  core: Core,
  problem: MatmulProblem,
  m: number | undefined,
): { nr: number; kc: number } {
  const blocks = Math.max(1, Math.ceil(problem.k / PANEL_KC));
  const kc = roundUp(Math.max(1, Math.ceil(problem.k / blocks)), 4);
  if (m === undefined || m < MANY_ROWS || problem.k === 0 || problem.n === 0) return { nr: PANEL_NR, kc };
  const best = findKernel(core.planner.plan({ ...problem, m }).plan.kernel);
  const kernels = applicableKernels(problem, core.filter).filter(({ family }) => family === 'packed');
  const single = kernels.some((kernel) => kernel.nr === best?.nr && kernel.mr === 1);
  return { nr: best && single ? best.nr : PANEL_NR, kc };
}

const OPTIONS: ReadonlySet<string> = new Set(['op', 'transposeB', 'm']);

export function checkRows(m: number | undefined): void {
  if (m === undefined || (Number.isSafeInteger(m) && m >= 0)) return;
  throw new TesseraeError(
    'E_ARGUMENT',
    `m is ${show(m)}`,
    { m },
    'm is the usual number of rows of the left operand.',
  );
}

/** How a right operand becomes panels. @throws `E_KERNEL` where no kernel that reads them may be trusted. */
export function packPlan(core: Core, problem: MatmulProblem, { nr, kc }: { nr: number; kc: number }): Plan {
  const kernel = applicableKernels(problem, core.filter).find(
    (row: Kernel) => row.family === 'packed' && row.nr === nr,
  );
  if (!kernel)
    throw new TesseraeError(
      'E_KERNEL',
      `no kernel for panels ${nr} wide may be trusted`,
      { nr },
      'Pass b as a tensor.',
    );
  return {
    backend: 'wasm',
    kernel: kernel.name,
    algorithm: 'gemm',
    packing: 'ab',
    mc: kernel.mr,
    kc,
    nc: nr,
    order: 'mn',
    threads: 1,
  };
}

export function prepack(core: Core, b: TensorLike, options: PrepackOptions): Prepacked {
  core.checkOpen('prepack');
  core.tape?.spoil('weights are packed on the way');
  checkOptions(options, OPTIONS);
  if (options.op !== undefined && options.op !== 'matmul')
    throw badArgument('op', options.op, "Use 'matmul' or 'conv'.");
  checkRows(options.m);
  const transposeB = checkFlag(options.transposeB, 'transposeB');
  const operand = readOperand(core.heap, b, 'b');
  if (operand.shape.length !== 2) {
    throw new TesseraeError(
      'E_SHAPE',
      `b has rank ${operand.shape.length}, prepack takes a matrix`,
      { shape: operand.shape },
      'Prepack each matrix of a batch by itself.',
    );
  }
  const [rows, cols] = operand.shape as readonly [number, number];
  const [k, n] = transposeB ? [cols, rows] : [rows, cols];
  const { problem } = matmulFromShapes([1, k], operand.shape, { transposeB, exact: core.exact });
  const panel = panelFor(core, problem, options.m);
  const panels = new Panels(core.heap, [k, n], panel);
  if (k === 0 || n === 0) return panels;
  let placed = false;
  try {
    const address = operand.place();
    placed = true;
    const operands = { ...NO_OPERANDS, b: address, packedB: panels.block.address };
    core.executor.runOnce(lowerPackB(problem, packPlan(core, problem, panel)), operands);
    return panels;
  } catch (error) {
    panels.dispose();
    throw error;
  } finally {
    if (placed) operand.done();
  }
}
