/**
 * Runs a mix of everything, for as long as anyone likes, and prints what the process and the runtime hold: it should stay where it is.
 *
 *     npm run soak [-- --minutes 1] [--threads 2] [--seed 1] [--every 5]
 */
import { parseArgs } from 'node:util';
import { createRuntime, type Runtime, type Tensor, TesseraeError } from '../src/index.ts';

const MiB = 2 ** 20;
/** After so many calls a runtime is closed and another made. */
const CALLS_OF_A_RUNTIME = 2000;
/** The engine's own growth, with its compiled code, is over by then. */
const SETTLED = 0.25;

/** Marsaglia's xorshift32: the same calls for the same seed. */
function randomFrom(seed: number): (most: number) => number {
  let state = seed | 0 || 1;
  return (most) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % most;
  };
}

type Random = (most: number) => number;

/** One call of some kind; every tensor that it makes is gone afterwards. */
async function call(rt: Runtime, random: Random): Promise<string> {
  const side = () => 1 + random(160);
  const made: Tensor[] = [];
  const zeros = (...shape: number[]) => {
    made.push(rt.zeros(shape));
    return made.at(-1)!;
  };
  const kinds: Record<string, () => Promise<unknown>> = {
    matmul: async () => {
      const [m, k, n] = [side(), side(), side()];
      made.push(await rt.matmul(zeros(m, k), zeros(k, n), { activation: random(2) ? 'relu' : 'gelu' }));
    },
    'matmul, blocking': async () => {
      const [m, k, n] = [side(), side(), side()];
      made.push(rt.matmulSync(zeros(m, k), { data: new Float32Array(k * n), shape: [k, n] }));
    },
    prepack: async () => {
      const [k, n] = [side(), side()];
      const kept = rt.prepack(zeros(k, n));
      made.push(await rt.matmul(zeros(3, k), kept, { priority: 'background' }));
      kept.dispose();
    },
    conv2d: async () => {
      const c = 1 + random(24);
      made.push(await rt.conv2d(zeros(1, c, 20, 20), zeros(1 + random(24), c, 3, 3), { padding: 1 }));
    },
    'pool and softmax': async () => {
      const pooled = await rt.maxPool2d(zeros(1, 8, 16, 16), 2, { stride: 2 });
      made.push(pooled, await rt.softmax(pooled));
    },
    bands: async () => {
      for await (const { row } of rt.matmul.tiles(zeros(90, 40), zeros(40, 50), { rows: 20 }))
        if (row >= 20 * random(6)) break;
    },
    aborted: async () => {
      const control = new AbortController();
      const big = zeros(600, 600);
      const pending = rt.matmul(big, big, { signal: control.signal });
      setTimeout(() => control.abort(), random(10));
      const result = await pending.catch(() => undefined);
      if (result) made.push(result);
    },
    'a pause': async () => {
      const big = zeros(400, 400);
      const pending = rt.matmul(big, big);
      await rt.pause();
      rt.resume();
      made.push(await pending);
    },
    'out of memory': async () => {
      try {
        made.push(rt.zeros([2 ** 14, 2 ** 14]));
        throw new Error('there was memory for it');
      } catch (error) {
        if (!(error instanceof TesseraeError && error.code === 'E_MEMORY')) throw error;
      }
    },
  };
  const name = Object.keys(kinds)[random(Object.keys(kinds).length)]!;
  try {
    await kinds[name]!();
  } finally {
    for (const tensor of made) tensor.dispose();
  }
  return name;
}

export async function main(args: readonly string[]): Promise<void> {
  const options = {
    minutes: { type: 'string', default: '1' },
    threads: { type: 'string', default: '2' },
    seed: { type: 'string', default: '1' },
    every: { type: 'string', default: '5' },
  } as const;
  const { minutes, threads, seed, every } = parseArgs({ args: [...args], options }).values;
  const random = randomFrom(Number(seed));
  const make = () =>
    createRuntime({ threads: Number(threads), wisdom: false, memory: { maximum: 256 * MiB } });
  console.log(`seed ${seed}, ${threads} threads, ${minutes} minutes; MiB`);
  console.log('   seconds     calls  runtimes       rss  capacity      used   tensors');
  const start = performance.now();
  const total = 60_000 * Number(minutes);
  let [calls, runtimes, reported] = [0, 1, start];
  let settled: number | undefined;
  let rt = await make();
  for (;;) {
    await call(rt, random);
    calls++;
    const now = performance.now();
    const isOver = now - start >= total;
    if (isOver || now - reported >= 1000 * Number(every)) {
      reported = now;
      const { capacity, used, tensors } = rt.memory();
      const rss = process.memoryUsage().rss / MiB;
      if (now - start > SETTLED * total) settled ??= rss;
      const cells = [(now - start) / 1000, calls, runtimes, rss, capacity / MiB, used / MiB, tensors];
      console.log(
        cells.map((cell, i) => (i === 5 ? cell.toFixed(3) : cell.toFixed(0)).padStart(10)).join(''),
      );
      if (tensors > 0) throw new Error(`${tensors} tensors are left after ${calls} calls`);
    }
    if (isOver) break;
    if (calls % CALLS_OF_A_RUNTIME === 0) {
      await rt.close();
      rt = await make();
      runtimes++;
    }
  }
  await rt.close();
  const rss = process.memoryUsage().rss / MiB;
  const growth = settled === undefined ? 0 : rss / settled - 1;
  console.log(
    `${calls} calls; since a quarter of the time rss has changed by ${(100 * growth).toFixed(0)} %`,
  );
}
