// Worker threads of your own on one runtime:
//   npm run workers               threads that are started here
//   npm run workers -- piscina    a pool
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { createRuntime } from 'tesserae';

const THREADS = 3;
const JOBS = 12;
const SIDE = 512;

/** Gives each job to a thread that is free. */
function ownThreads(rt) {
  const all = Array.from({ length: THREADS }, () => {
    const worker = new Worker(new URL('./worker.mjs', import.meta.url));
    // each thread needs a handle of its own; its port goes over, it is not copied
    const handle = rt.share();
    worker.postMessage({ handle }, [handle.port]);
    return worker;
  });
  const idle = [...all];
  const waiting = [];
  const run = async (job) => {
    const worker = idle.pop() ?? (await new Promise((resolve) => waiting.push(resolve)));
    worker.postMessage({ job });
    const [result] = await once(worker, 'message');
    const next = waiting.shift();
    if (next) next(worker);
    else idle.push(worker);
    return result;
  };
  return { run, close: () => Promise.all(all.map((worker) => worker.terminate())) };
}

async function pooled(rt) {
  const { Piscina } = await import('piscina');
  const pool = new Piscina({
    filename: new URL('./pool-worker.mjs', import.meta.url).href,
    maxThreads: THREADS,
  });
  const run = (job) => {
    const handle = rt.share();
    return pool.run({ handle, job }, { transferList: [handle.port] });
  };
  return { run, close: () => pool.destroy() };
}

const rt = await createRuntime();
const pool = process.argv[2] === 'piscina' ? await pooled(rt) : ownThreads(rt);
const filled = (value) => rt.tensor(new Float32Array(SIDE * SIDE).fill(value), [SIDE, SIDE]);
const weights = filled(1 / SIDE);
const inputs = Array.from({ length: JOBS }, (_, i) => filled(i + 1));

/** All jobs at once: handles go over, and handles come back. */
async function round() {
  const start = performance.now();
  const results = await Promise.all(
    inputs.map(async (x) => rt.adopt(await pool.run({ x: x.share(), weights: weights.share() }))),
  );
  const ms = performance.now() - start;
  for (const [i, y] of results.entries()) {
    if (Math.abs(y.data[0] - (i + 1)) > 1e-3) throw new Error(`job ${i} gave ${y.data[0]}`);
    y.dispose();
  }
  return ms;
}

// threads start, and code is compiled
await round();
const ms = await round();
const { actual } = rt.info.threads;
console.log(
  `${JOBS} products of ${SIDE}x${SIDE}, right, for ${THREADS} threads on one team of ${actual}: ${ms.toFixed(0)} ms`,
);
await pool.close();
for (const tensor of [...inputs, weights]) tensor.dispose();
await rt.close();
