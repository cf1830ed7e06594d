/** Panels made once for a right operand that many calls share, such as a weight matrix. */
import { TesseraeError } from '../core/errors.ts';
import { roundUp } from '../core/math.ts';
import { applicableKernels } from '../kernels/select.ts';
import type { Kernel } from '../kernels/table.ts';
import type { Plan } from '../plan/plan.ts';
import { type MatmulProblem, matmulFromShapes, matmulKey } from '../problem/matmul.ts';
import type { Core } from './core.ts';
import { readOperand } from './operands.ts';
import { Panels } from './tensor.ts';
import type { Prepacked, TensorLike } from './types.ts';

/** Block of k in panels: 256 steps of 16 columns are 16 KiB, half of a common first cache. */
const PANEL_KC = 256;
/** Width that serves one row (four accumulators cover the latency of a multiply-add) as well as many. */
const PANEL_NR = 16;
/** From this many rows on, the width of the kernel that is best for many rows is worth more than a fast single row. */
const MANY_ROWS = 24;

/** Width of panels for products with `m` rows: a width that has kernels of one row and of several. */
function panelWidth(core: Core, problem: MatmulProblem, m: number | undefined): number {
  if (m === undefined || m < MANY_ROWS) return PANEL_NR;
  const best = core.planner.plan({ ...problem, m }).plan;
  const kernels = applicableKernels(problem, core.filter);
  const width = kernels.find((kernel) => kernel.name === best.kernel)?.nr ?? PANEL_NR;
  return kernels.some((kernel) => kernel.nr === width && kernel.mr === 1) ? width : PANEL_NR;
}

function checkRows(m: number | undefined): void {
  if (m === undefined || (Number.isSafeInteger(m) && m >= 0)) return;
  throw new TesseraeError(
    'E_ARGUMENT',
    `m is ${String(m)}`,
    { m },
    'm is the usual number of rows of the left operand.',
  );
}

export function prepack(
  core: Core,
  b: TensorLike,
  options: { readonly transposeB?: boolean; readonly m?: number },
): Prepacked {
  core.checkOpen('prepack');
  checkRows(options.m);
  const transposeB = options.transposeB ?? false;
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
  const nr = k > 0 && n > 0 ? panelWidth(core, problem, options.m) : PANEL_NR;
  const kc = roundUp(Math.max(1, Math.ceil(k / Math.max(1, Math.ceil(k / PANEL_KC)))), 4);
  const panels = new Panels(core.heap, [k, n], { nr, kc });
  if (k === 0 || n === 0) return panels;
  let placed = false;
  try {
    const address = operand.place();
    placed = true;
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
    const plan: Plan = {
      backend: 'wasm',
      kernel: kernel.name,
      packing: 'ab',
      mc: kernel.mr,
      kc,
      nc: nr,
      order: 'mn',
      threads: 1,
    };
    core.executor.packB(
      { key: `${matmulKey(problem)} prepack`, problem, plan, ms: 0 },
      address,
      panels.block.address,
    );
    return panels;
  } catch (error) {
    panels.dispose();
    throw error;
  } finally {
    if (placed) operand.done();
  }
}
