/**
 * How close to the machine's limits? On a shared machine a ceiling measured once says little about a time measured later,
 * so here both take turns: each round times the multiply-add loop (or the read loop, or a plain copy for depthwise layers) and the products,
 * and what counts is the median over the rounds of their ratio.
 *
 *     npm run bench -- limits [--rounds 60] [--engine-flags] [--json FILE]
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { median } from '../src/cli/bench/stats.ts';
import { renderTable } from '../src/cli/table.ts';
import { fillRandom } from '../src/core/random.ts';
import { createRuntime, type Runtime, type Tensor } from '../src/index.ts';
import { openCore } from './core.ts';

const SQUARES = [64, 128, 255, 256, 512, 1024];
const GEMV = 4096;
/** A depthwise layer on a map beyond the caches: 64 MiB in, 64 MiB out. */
const MAP = [1, 16, 1024, 1024] as const;
/** Operations in one turn of the peak loops: see assembly/probe. */
const TURN_FLOPS = { simd: 96, relaxed: 160 } as const;
const TURNS = 20_000;
/** Beyond any cache, also half of it. */
const READ_BYTES = 128 * 2 ** 20;
const SAMPLE_MS = 4;

interface Lane {
  readonly name: string;
  /** Work of one call: floating-point operations, or bytes. */
  readonly work: number;
  readonly run: () => unknown;
  iterations: number;
  readonly rates: number[];
}

function square(rt: Runtime, n: number): { a: Tensor; out: Tensor } {
  return { a: rt.tensor(fillRandom(new Float32Array(n * n), n), [n, n]), out: rt.zeros([n, n]) };
}

function lane(name: string, work: number, run: () => unknown): Lane {
  return { name, work, run, iterations: 1, rates: [] };
}

async function productLanes(rt: Runtime, threads: number): Promise<Lane[]> {
  const specs = [...SQUARES.map((n) => `${n}x${n}x${n}`), `1x${GEMV}x${GEMV}`];
  await rt.tune(specs, { budgetMs: 1500 * specs.length });
  const lanes = SQUARES.map((n) => {
    const { a, out } = square(rt, n);
    return lane(`${n} x${threads}`, 2 * n ** 3, () => rt.matmul(a, a, { out }));
  });
  const { a } = square(rt, GEMV);
  const x = rt.tensor(fillRandom(new Float32Array(GEMV), 1), [1, GEMV]);
  const y = rt.zeros([1, GEMV]);
  const gemv = lane(`gemv x${threads}`, 4 * GEMV * GEMV, () => rt.matmul(x, a, { out: y }));
  return [...lanes, gemv, await depthwiseLane(rt, threads)];
}

async function depthwiseLane(rt: Runtime, threads: number): Promise<Lane> {
  const channels = MAP[1];
  const weights = [channels, 1, 3, 3];
  const geometry = { padding: 1, groups: channels };
  await rt.tune([{ op: 'conv', input: MAP, weights, ...geometry, prepacked: true }], { budgetMs: 3000 });
  const x = rt.zeros(MAP);
  fillRandom(x.data, 2);
  const w = rt.prepack(rt.tensor(fillRandom(new Float32Array(9 * channels), 3), weights), { op: 'conv' });
  const out = rt.zeros(MAP);
  return lane(`depthwise x${threads}`, 8 * x.size, () => rt.conv2d(x, w, { ...geometry, out }));
}

async function time({ run, iterations }: Lane): Promise<number> {
  const start = performance.now();
  for (let i = 0; i < iterations; i++) await run();
  return performance.now() - start;
}

async function measure(lanes: readonly Lane[], rounds: number): Promise<void> {
  for (const one of lanes) {
    // warm by time: the engine compiles hot code anew in the background
    const until = performance.now() + 300;
    while (performance.now() < until) await one.run();
    one.iterations = Math.max(1, Math.round(SAMPLE_MS / (await time({ ...one, iterations: 1 }))));
  }
  for (let round = 0; round < rounds; round++) {
    for (const one of lanes) one.rates.push((one.work * one.iterations) / (await time(one)) / 1e6);
  }
}

/** Median over the rounds of one lane's rate over another's. */
function paired(one: Lane, other: Lane): number {
  return median(one.rates.map((rate, round) => rate / other.rates[round]!));
}

export async function main(args: readonly string[]): Promise<void> {
  const options = {
    rounds: { type: 'string', default: '60' },
    'engine-flags': { type: 'boolean', default: false },
    json: { type: 'string' },
  } as const;
  const { values } = parseArgs({ args: [...args], options });
  const engineFlags = values['engine-flags'] ? 'allow' : 'off';
  const one = await createRuntime({ threads: 1, wisdom: false, engineFlags });
  const two = await createRuntime({ threads: 2, wisdom: false, engineFlags });
  const core = await openCore({ threads: 1, engineFlags: values['engine-flags'] });
  const { exports, relaxed } = core.backend;
  const { exports: apart, memory } = core.backend.instantiateApart(READ_BYTES);
  new Float32Array(memory.buffer).fill(1);
  const ones = core.backend.allocate(128, 'scratch');
  core.backend.view(ones, 32).fill(1);
  const peak = relaxed
    ? lane('multiply-add', TURN_FLOPS.relaxed * TURNS, () => relaxed.probe_peak_relaxed(TURNS, ones))
    : lane('multiply-add', TURN_FLOPS.simd * TURNS, () => exports.probe_peak_simd(TURNS, ones));
  const read = lane('read', READ_BYTES, () => apart.probe_read(0, READ_BYTES));
  const bytes = new Uint8Array(memory.buffer);
  const half = READ_BYTES / 2;
  const copy = lane('copy', READ_BYTES, () => apart.probe_copy(0, half, half));
  const native = lane('copy, native', READ_BYTES, () => bytes.copyWithin(half, 0, half));
  const single = await productLanes(one, 1);
  const double = await productLanes(two, 2);
  const lanes = [peak, read, copy, native, ...single, ...double];
  await measure(lanes, Number(values.rounds));
  report(lanes, peak, read, copy, single, double);
  if (values.json)
    writeFileSync(
      values.json,
      JSON.stringify(
        lanes.map(({ name, rates }) => ({ name, rates })),
        undefined,
        1,
      ),
    );
  await Promise.all([one.close(), two.close(), core.close()]);
}

function report(
  lanes: readonly Lane[],
  peak: Lane,
  read: Lane,
  copy: Lane,
  single: readonly Lane[],
  double: readonly Lane[],
): void {
  console.log(`Node ${process.versions.node}: median rates, GFLOP/s or GB/s, and paired ratios\n`);
  const rows = lanes.map((one) => {
    // an image in and one out: what copying by vectors does, which moves as many bytes
    const limit = one.name.startsWith('depthwise') ? copy : /^(gemv|copy)/.test(one.name) ? read : peak;
    const of = one === peak || one === read ? '' : `${(100 * paired(one, limit)).toFixed(0)} %`;
    const best =
      of === '' ? '' : `${((100 * Math.max(...one.rates)) / Math.max(...limit.rates)).toFixed(0)} %`;
    const at = double.indexOf(one);
    const speedup = at < 0 ? '' : `${paired(one, single[at]!).toFixed(2)}x`;
    return [one.name, median(one.rates).toFixed(1), of, best, speedup];
  });
  const columns = ['what', 'rate', 'of one thread’s limit', 'best against best', 'over one thread'].map(
    (title) => ({
      title,
    }),
  );
  console.log(renderTable(columns, rows, (text) => text));
}
