/**
 * One bench per row of the kernel table: a whole product on one thread in cache, packing included, so that a row's figure is
 * what a call gets from it. Rows that the loaded module lacks are left out.
 *
 *     npm run bench -- kernels [part of a name] [--engine-flags]
 */
import b from 'benny';
import { flopsOf, makeOperands } from '../src/cli/bench/operands.ts';
import { verify } from '../src/cli/bench/verify.ts';
import type { Shape } from '../src/cli/shapes/index.ts';
import { roundUp } from '../src/core/math.ts';
import { type Kernel, PRODUCT_KERNELS } from '../src/kernels/table.ts';
import type { Core } from '../src/ops/core.ts';
import type { Plan } from '../src/plan/plan.ts';
import { openCore, openStage, type Stage } from './core.ts';
import { CASE, conclude } from './support.ts';

/** About 100 x 256 x 192 for blocks, a matrix of 1 MB for vectors: both stay in a second-level cache. */
const ROWS = 96;
const K = 256;
const COLUMNS = 192;
const VECTOR = 512;

export async function main(args: readonly string[]): Promise<void> {
  const part = args.find((arg) => !arg.startsWith('-')) ?? '';
  const core = await openCore({ threads: 1, engineFlags: args.includes('--engine-flags') });
  const rows = PRODUCT_KERNELS.filter(({ name }) => core.backend.kernels.has(name) && name.includes(part));
  if (rows.length === 0)
    throw new Error(`No row of the kernel table that is loaded here contains "${part}".`);
  const stages = rows.map((kernel) => open(core, kernel));
  const title = `kernels, ${core.backend.feature}, one thread`;
  await b.suite(
    title,
    ...stages.map(({ kernel, run }) => b.add(kernel.name, run, CASE)),
    ...conclude(title.replaceAll(/\W+/g, '-'), ({ results }) => print(results, stages, core)),
  );
  for (const { stage } of stages) stage.dispose();
  await core.close();
}

interface Row {
  readonly kernel: Kernel;
  readonly stage: Stage;
  readonly run: () => void;
}

function open(core: Core, kernel: Kernel): Row {
  const { shape, plan } = taskOf(kernel);
  const operands = makeOperands(shape);
  const stage = openStage(core, shape, operands);
  const { key, problem, out } = stage;
  const addresses = stage.addressesFor(plan);
  const execution = { key, problem, plan, ms: 0 };
  const run = () => core.executor.runSync(execution, addresses);
  out.data.fill(Number.NaN);
  run();
  const verdict = verify(operands, out.data);
  if (!verdict.ok) throw new Error(`${kernel.name} is wrong: ${verdict.reason}`);
  return { kernel, stage, run };
}

function taskOf({ name, family, mr, nr }: Kernel): { readonly shape: Shape; readonly plan: Plan } {
  const common = { backend: 'wasm', algorithm: 'gemm', kernel: name, order: 'mn', threads: 1 } as const;
  if (family === 'axpy' || family === 'dot') {
    const shape = { name, m: 1, k: VECTOR, n: VECTOR, transposeB: family === 'dot', source: 'kernel table' };
    return { shape, plan: { ...common, packing: 'none', mc: 1, kc: VECTOR, nc: VECTOR } };
  }
  const [mc, nc] = [roundUp(ROWS, mr), roundUp(COLUMNS, nr)];
  const shape = { name, m: mc, k: K, n: nc, source: 'kernel table' };
  return { shape, plan: { ...common, packing: family === 'packed' ? 'ab' : 'none', mc, kc: K, nc } };
}

function print(
  results: readonly { readonly name: string; readonly details: { readonly median: number } }[],
  rows: readonly Row[],
  core: Core,
): void {
  const { peakGflops } = core.machine;
  const lines = results.map(({ name, details }) => {
    const row = rows.find(({ kernel }) => kernel.name === name);
    return { name, gflops: row ? flopsOf(row.stage.shape) / details.median / 1e9 : 0 };
  });
  console.log(`\n  GFLOP/s, and percent of ${peakGflops.toFixed(1)} (128-bit multiply-add):`);
  for (const { name, gflops } of lines.sort((x, y) => y.gflops - x.gflops)) {
    console.log(
      `  ${name.padEnd(42)}${gflops.toFixed(1).padStart(6)}${((100 * gflops) / peakGflops).toFixed(0).padStart(6)} %`,
    );
  }
}
