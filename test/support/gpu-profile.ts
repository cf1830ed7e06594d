/** A profile for tests, which saves them the probe. */
import type { GpuProfile } from '../../src/plan/gpu.ts';

/** One row only: each text of another costs a second of compiling on a software adapter. */
export const ONE_ROW: GpuProfile = {
  launchMs: 0.1,
  passMs: 0.01,
  readbackMs: 0.1,
  uploadGBs: 1,
  downloadGBs: 1,
  peakGflops: 1,
  kernelGflops: { f32_gemm_32x32x16_2x4__wgsl: 1000 },
  kernelStepMs: {},
  gatherGflops: {},
  gatherStepMs: {},
  memoryGBs: 1,
};

/** The same where a step along k takes so long that k is cut wherever it can be. */
export const LONG_WAY: GpuProfile = {
  ...ONE_ROW,
  kernelStepMs: Object.fromEntries(Object.keys(ONE_ROW.kernelGflops).map((name) => [name, 1])),
};
