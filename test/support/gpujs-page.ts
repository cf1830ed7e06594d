/** Runs in a page: gpu.js on WebGL2, by itself and as a runtime's place. Bundled by the browser tests. */
import gpujs from 'gpu.js';
import { GpuJsBackend, type GpuJsReport } from '../../src/backends/gpujs/backend.ts';
import { createRuntime } from '../../src/index.ts';
import { createRuntimeWith } from '../../src/ops/runtime.ts';
import { GATHER_PROBLEMS, gatherFaults } from './gather-exam.ts';
import { wholeProduct, wrongAsync } from './products.ts';

export interface GpuJsPageReport {
  readonly adapter: GpuJsReport;
  readonly faults: readonly string[];
  readonly problems: number;
  /** Of a runtime that was asked for a GPU, and of one that was sent to gpu.js. */
  readonly welcome: readonly {
    readonly name: string;
    readonly available: boolean;
    readonly reason: string;
  }[];
  readonly forced: string | undefined;
  readonly placed: string;
  /** A user's kernel in such a page. */
  readonly kernel: readonly number[];
}

async function run(): Promise<GpuJsPageReport> {
  const backend = await GpuJsBackend.open({ gpujs });
  const faults = await gatherFaults(backend);
  const { report: adapter } = backend;
  await backend.close();
  const gpu = { gpujs };
  const auto = await createRuntime({ gpu, wisdom: false });
  const welcome = auto.info.backends;
  await auto.close();
  const rt = await createRuntimeWith(
    { gpu, backend: 'gpujs', wisdom: false },
    { gatherProfile: { callMs: 1, gflops: 1000, moveGBs: 10 } },
  );
  const forced = await wrongAsync(rt, wholeProduct(70, 90, 33));
  const placed = rt.explain('70x90x33').plan.backend;
  // biome-ignore lint/complexity/useArrowFunction: gpu.js takes no arrow functions
  const kernel = rt.kernel(function (x) {
    return x * 2 + 1;
  });
  const values = await kernel.run([rt.tensor([1, 2, 3], [3])]);
  const doubled = [...values.data];
  await rt.close();
  return { adapter, faults, problems: GATHER_PROBLEMS.length, welcome, forced, placed, kernel: doubled };
}

(globalThis as { report?: Promise<unknown> }).report = run();
