/** The cost model of 8-bit integers: the plain problem over words, and what making words and finishing sums costs. */
import { readsBytes } from '../../kernels/quantized.ts';
import { findKernel } from '../../kernels/table.ts';
import { resultElements } from '../../problem/problem.ts';
import type { QuantizedProblem } from '../../problem/quantized.ts';
import { convMs } from '../conv/estimate.ts';
import type { MachineProfile } from '../machine.ts';
import { matmulMs, phaseUs } from '../matmul/estimate.ts';
import type { Plan } from '../plan.ts';
import { innerProblem, readsByteImage } from './view.ts';

/** Elements of 32 bits made from bytes, in 1e9 per second: rows of k in vectors, columns interleaved, filters in short runs. */
const WORDS_PER_NS = 1;
const FILTER_WORDS_PER_NS = 0.4;
/** How much faster images are widened that stay in the first cache. */
const IN_CACHE = 4;
/** Results requantised in a nanosecond. */
const FINISHED_PER_NS = 1.5;

function wideningMs(inner: ReturnType<typeof innerProblem>): number {
  if (inner.op === 'matmul') {
    const a = (inner.sharedA ? 1 : inner.batch) * inner.m * inner.k;
    const b = inner.prepackedB ? 0 : (inner.sharedB ? 1 : inner.batch) * inner.k * inner.n;
    return (a + b) / WORDS_PER_NS / 1e6;
  }
  const image = inner.batch * inner.inC * inner.inH * inner.inW;
  const filters = inner.prepacked ? 0 : (inner.outC * inner.inC * inner.kH * inner.kW) / inner.groups;
  return (image / WORDS_PER_NS + filters / FILTER_WORDS_PER_NS) / 1e6;
}

export function quantizedMs(p: QuantizedProblem, plan: Plan, machine: MachineProfile): number {
  const kernel = findKernel(plan.kernel);
  if (!kernel) return Number.POSITIVE_INFINITY;
  const inner = innerProblem(p, kernel);
  const finishing = p.output === 'i32' ? 0 : resultElements(p) / FINISHED_PER_NS / 1e6;
  const widening = readsBytes(kernel) ? 0 : wideningMs(inner) / (readsByteImage(kernel) ? IN_CACHE : 1);
  const shared = (widening + finishing) / plan.threads;
  const wait = plan.threads > 1 ? phaseUs(machine) / 1e3 : 0;
  return (
    (inner.op === 'matmul' ? matmulMs(inner, plan, machine) : convMs(inner, plan, machine)) + shared + wait
  );
}
