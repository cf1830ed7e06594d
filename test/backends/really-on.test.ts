/** That the fast path is the one that runs: vector instructions in the bytes, records computed by worker threads. */
import test from 'tape';
import { embeddedModule } from '../../src/backends/wasm/embedded.ts';
import { nodeHost } from '../../src/backends/wasm/host-node.ts';
import {
  ARENA_ADDRESS,
  MAX_WORKERS,
  TABLES_ADDRESS,
  WORKER,
  WORKER_BYTES,
  WORKERS_ADDRESS,
} from '../../src/backends/wasm/layout.ts';
import { hasRelaxedSimd, instantiate } from '../../src/backends/wasm/module.ts';
import { KERNELS } from '../../src/kernels/table.ts';
import type { Plan } from '../../src/plan/plan.ts';
import { matmulProblem } from '../../src/problem/matmul.ts';
import { makeWasmBackend, runAsync, runSync } from '../support/bench.ts';
import { faultOf } from '../support/compare.ts';
import { randomValues } from '../support/problems.ts';
import { makeRuntime } from '../support/runtime.ts';
import { Random, seeded } from '../support/seed.ts';

/** f32x4.mul and f32x4.relaxed_madd as they are encoded. */
const F32X4_MUL = [0xfd, 0xe6, 0x01];
const F32X4_RELAXED_MADD = [0xfd, 0x85, 0x02];

function occurrences(bytes: Uint8Array, pattern: readonly number[]): number {
  let count = 0;
  for (let at = 0; at + pattern.length <= bytes.length; at++) {
    if (pattern.every((byte, index) => bytes[at + index] === byte)) count++;
  }
  return count;
}

/** Vector multiplications that the blocks of a feature hold, one k step each. */
function multiplications(feature: 'simd' | 'relaxed'): number {
  const blocks = KERNELS.filter(
    (kernel) => kernel.feature === feature && (kernel.family === 'packed' || kernel.family === 'direct'),
  );
  return blocks.reduce((sum, { mr, nr }) => sum + (mr * nr) / 4, 0);
}

test(seeded('simd is really on: the modules are made of vector instructions'), (t) => {
  const simd = embeddedModule('simd', nodeHost);
  const relaxed = embeddedModule('relaxed', nodeHost);
  t.ok(
    occurrences(simd, F32X4_MUL) >= multiplications('simd'),
    `${occurrences(simd, F32X4_MUL)} f32x4.mul in the plain module`,
  );
  t.equal(occurrences(simd, F32X4_RELAXED_MADD), 0, 'and nothing that needs relaxed SIMD');
  t.ok(
    occurrences(relaxed, F32X4_RELAXED_MADD) >= multiplications('relaxed'),
    `${occurrences(relaxed, F32X4_RELAXED_MADD)} f32x4.relaxed_madd in the relaxed module`,
  );
  t.ok(WebAssembly.validate(simd), 'the plain module is one that this engine takes');
  t.equal(
    WebAssembly.validate(relaxed),
    hasRelaxedSimd(),
    'the relaxed one where the engine has relaxed SIMD',
  );
  t.end();
});

test(seeded('threads are really on: workers execute records'), async (t) => {
  const backend = makeWasmBackend();
  const beats = () => {
    const words = new Int32Array(backend.floats().buffer);
    return Array.from({ length: MAX_WORKERS }, (_, i) =>
      Atomics.load(words, (WORKERS_ADDRESS + i * WORKER_BYTES + WORKER.BEAT) >> 2),
    );
  };
  const caller = MAX_WORKERS - 1;
  t.equal(backend.team.ready, 0, 'no thread before it is needed');
  t.ok(await backend.team.whenReady(2), 'two workers answer');
  const p = matmulProblem({ m: 256, n: 256, k: 256 });
  const values = randomValues(p, new Random(5));
  const plan: Plan = {
    backend: 'wasm',
    algorithm: 'gemm',
    kernel: 'f32_gemm_4x8__simd_loadsplat',
    packing: 'ab',
    mc: 16,
    kc: 128,
    nc: 64,
    order: 'mn',
    threads: 2,
  };
  // on a busy machine one worker may be fast enough to take all records of a job: a few jobs give both their chance
  for (let turn = 0; turn < 50 && !(beats()[0]! > 0 && beats()[1]! > 0); turn++) {
    const run = await runAsync(backend, p, plan, values);
    t.equal(run.fault ?? faultOf(p, values, run.values), undefined, `job ${turn} is right`);
  }
  t.ok(beats()[0]! > 0 && beats()[1]! > 0, `both workers computed: ${beats()[0]} and ${beats()[1]} records`);
  t.equal(beats()[caller], 0, 'the calling thread computed none of an asynchronous job');
  t.equal(
    beats()
      .slice(2, caller)
      .reduce((x, y) => x + y, 0),
    0,
    'nor did anybody else',
  );
  const workersBefore = beats()[0]! + beats()[1]!;
  let helped = false;
  for (let turn = 0; turn < 50 && !(helped && beats()[caller]! > 0); turn++) {
    runSync(backend, p, plan, values);
    helped = beats()[0]! + beats()[1]! > workersBefore;
  }
  t.ok(beats()[caller]! > 0, 'the calling thread takes part in a synchronous one');
  t.ok(helped, 'and a worker helps it');
  await backend.close();
  t.end();
});

test(seeded('the runtime says what is on'), async (t) => {
  const rt = await makeRuntime({ threads: 2 });
  const on = (name: string) => rt.info.features.find((feature) => feature.name === name)?.on;
  t.equal(on('simd'), true, 'simd');
  t.equal(on('threads'), true, 'threads');
  t.equal(on('shared-memory'), true, 'shared memory');
  t.equal(on('relaxed-simd'), hasRelaxedSimd(), 'relaxed SIMD as the engine has it');
  t.ok(
    rt.info.features.every((feature) => feature.reason.length > 0),
    'each with a reason',
  );
  t.deepEqual([rt.info.threads.requested, rt.info.threads.actual], [2, 2]);
  t.ok(
    rt.info.backends.some((backend) => backend.name === 'wasm' && backend.available),
    'the wasm backend',
  );
  await rt.close();
  t.end();
});

test('modules keep their constants apart from what the team writes', (t) => {
  const module = (name: 'simd' | 'relaxed') => new WebAssembly.Module(embeddedModule(name, nodeHost));
  for (const feature of ['simd', 'relaxed'] as const) {
    if (feature === 'relaxed' && !hasRelaxedSimd()) continue;
    const memory = new WebAssembly.Memory({ initial: 2, maximum: 65536, shared: true });
    instantiate(feature === 'simd' ? [module('simd')] : [module('simd'), module('relaxed')], memory);
    const bytes = new Uint8Array(memory.buffer);
    const written = [bytes.findIndex((byte) => byte !== 0), bytes.findLastIndex((byte) => byte !== 0)];
    t.ok(written[0]! >= TABLES_ADDRESS, `${feature}: the first byte is at ${written[0]}`);
    t.ok(written[1]! < ARENA_ADDRESS, `and the last at ${written[1]}`);
  }
  t.end();
});
