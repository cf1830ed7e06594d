/**
 * What a runtime is like to live with: how soon an abort settles, what an urgent call waits beside work in the background, what a duty cycle
 * takes of the machine and what the event loop feels of it.
 *
 *     npm run bench -- polite [--threads 2] [--seconds 10]
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { createRuntime, type Runtime, type Tensor } from '../src/index.ts';

/** Seconds of multiplying on one core: long enough to be interrupted anywhere. */
const SIDE = 3072;
const DUTY = 0.1;

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

function quantile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((x, y) => x - y);
  return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))]!;
}

function show(name: string, values: readonly number[]): void {
  const [median, p99, most] = [quantile(values, 0.5), quantile(values, 0.99), Math.max(...values)];
  console.log(
    `${name}: median ${median.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms, most ${most.toFixed(1)} ms (${values.length})`,
  );
}

/** Aborted at moments spread over the call, the time until the promise settles. */
async function aborts(rt: Runtime, a: Tensor, ms: number): Promise<void> {
  const used = rt.memory().used;
  const taken: number[] = [];
  for (const end = performance.now() + ms; performance.now() < end; ) {
    const control = new AbortController();
    const call = rt.matmul(a, a, { signal: control.signal }).catch(() => undefined);
    await sleep(5 + ((taken.length * 37) % 60));
    const start = performance.now();
    control.abort();
    await call;
    taken.push(performance.now() - start);
  }
  show('abort to settled', taken);
  console.log(`bytes kept by aborted calls: ${rt.memory().used - used}`);
}

/** A small call by itself, beside an endless one of the same priority's team, and overtaking it. */
async function overtaking(rt: Runtime, a: Tensor, ms: number): Promise<void> {
  const small = rt.tensor(new Float32Array(256 * 256).fill(1), [256, 256]);
  const time = async (count: number): Promise<number[]> => {
    const taken: number[] = [];
    for (let i = 0; i < count; i++) {
      const start = performance.now();
      (await rt.matmul(small, small, { priority: 'interactive' })).dispose();
      taken.push(performance.now() - start);
      await sleep(2);
    }
    return taken;
  };
  const count = Math.max(50, Math.round(ms / 10));
  await time(50);
  show('256x256x256 alone', await time(count));
  const control = new AbortController();
  const background = (async () => {
    while (!control.signal.aborted)
      await rt
        .matmul(a, a, { priority: 'background', signal: control.signal })
        .then((tensor) => tensor.dispose())
        .catch(() => undefined);
  })();
  await sleep(50);
  show('the same, overtaking one in the background', await time(count));
  control.abort();
  await background;
  small.dispose();
}

/** Work without end at a tenth of the machine. */
async function duty(rt: Runtime, a: Tensor, threads: number, ms: number): Promise<void> {
  rt.budget({ dutyCycle: DUTY });
  const control = new AbortController();
  const call = rt.matmul(a, a, { priority: 'background', signal: control.signal }).catch(() => undefined);
  await sleep(300);
  const delay = monitorEventLoopDelay({ resolution: 5 });
  delay.enable();
  const [start, before] = [performance.now(), process.cpuUsage()];
  await sleep(ms);
  const wall = performance.now() - start;
  const { user, system } = process.cpuUsage(before);
  delay.disable();
  control.abort();
  await call;
  rt.budget({ dutyCycle: 1 });
  const share = (user + system) / 1000 / wall / threads;
  const p99 = (delay.percentile(99) / 1e6).toFixed(1);
  console.log(
    `duty cycle ${DUTY}: ${(100 * share).toFixed(1)} % of ${threads} cores, event loop p99 ${p99} ms (of which 5 are the meter's own)`,
  );
}

export async function main(args: readonly string[]): Promise<void> {
  const options = {
    threads: { type: 'string', default: '2' },
    seconds: { type: 'string', default: '10' },
  } as const;
  const { threads, seconds } = parseArgs({ args: [...args], options }).values;
  const [count, ms] = [Number(threads), 1000 * Number(seconds)];
  const rt = await createRuntime({ threads: count, wisdom: false });
  const a = rt.tensor(new Float32Array(SIDE * SIDE).fill(0.5), [SIDE, SIDE]);
  await rt.prepare([`${SIDE}x${SIDE}x${SIDE}`]);
  console.log(`Node ${process.versions.node}, ${count} threads`);
  await aborts(rt, a, ms);
  await overtaking(rt, a, ms);
  await duty(rt, a, count, ms);
  await rt.close();
}
