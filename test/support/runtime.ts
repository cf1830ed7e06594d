/** Runtimes for tests: no probe, no wisdom file; the machine is made up, so that what is chosen depends on the seed alone. */
import { KERNELS } from '../../src/kernels/table.ts';
import { createRuntimeWith } from '../../src/ops/runtime.ts';
import type { Runtime, RuntimeOptions } from '../../src/ops/types.ts';
import type { MachineProfile } from '../../src/plan/machine.ts';
import { Random } from './seed.ts';

/** Any kernel may look best on it: a fuzz over machines is a fuzz over plans. */
export function madeUpMachine(salt: number): MachineProfile {
  const random = new Random(salt);
  return {
    peakGflops: 50,
    readGBs: 10,
    readGBsAllThreads: 18,
    wakeUs: 20,
    kernelGflops: Object.fromEntries(KERNELS.map((kernel) => [kernel.name, random.int(5, 60)])),
  };
}

export function makeRuntime(options: RuntimeOptions = {}, salt = 1): Promise<Runtime> {
  return createRuntimeWith({ threads: 2, wisdom: false, ...options }, { machine: madeUpMachine(salt) });
}
