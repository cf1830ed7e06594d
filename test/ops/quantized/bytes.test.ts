/**
 * Products by the 8-bit dot product of relaxed SIMD: what an engine's can do is found out, bytes are shifted to fit it, results are
 * exact, and weights that do not fit are left to the other kernels.
 */
import test from 'tape';
import type { WasmBackend } from '../../../src/backends/wasm/backend.ts';
import { dotRange, shiftFor } from '../../../src/backends/wasm/dot.ts';
import { KERNELS } from '../../../src/kernels/table.ts';
import { createRuntimeWith } from '../../../src/ops/runtime.ts';
import { matmulProblem } from '../../../src/problem/matmul.ts';
import type { IntegerOutput, QmatmulProblem } from '../../../src/problem/quantized.ts';
import { makeWasmBackend } from '../../support/bench.ts';
import { madeUpMachine } from '../../support/runtime.ts';
import { Random, seeded } from '../../support/seed.ts';
import {
  BYTE_TYPES,
  type Bytes,
  bytesOf,
  difference,
  exactAnswer,
  lowest,
  NO_SCALES,
  randomBytes,
} from './support.ts';

/** A processor's dot product of four signed bytes and four others. */
type Dot = (a: Int8Array, b: Uint8Array) => number;

const saturate = (value: number) => Math.max(-32768, Math.min(32767, value));
const signed = (byte: number) => (byte << 24) >> 24;
const PROCESSORS: Readonly<Record<string, Dot>> = {
  pmaddubsw: (a, b) => saturate(a[0]! * b[0]! + a[1]! * b[1]!) + saturate(a[2]! * b[2]! + a[3]! * b[3]!),
  vpdpbusd: (a, b) => a.reduce((sum, value, i) => sum + value * b[i]!, 0),
  sdot: (a, b) => a.reduce((sum, value, i) => sum + value * signed(b[i]!), 0),
  broken: (a, b) => a.reduce((sum, value, i) => sum + value * (b[i]! & 63), 0),
};

function backendWith(dot: Dot | undefined): WasmBackend {
  const memory = new ArrayBuffer(64);
  const probe = (a: number, b: number, to: number) => {
    for (let word = 0; word < 4; word++) {
      const at = 4 * word;
      new Int32Array(memory, to, 4)[word] = dot!(
        new Int8Array(memory, a + at, 4),
        new Uint8Array(memory, b + at, 4),
      );
    }
  };
  return {
    relaxed: dot && { probe_dot: probe },
    allocate: () => 0,
    free: () => undefined,
    floats: () => new Float32Array(memory),
  } as unknown as WasmBackend;
}

test('8-bit dot product: what a processor can do is found by trying', (t) => {
  const found = (name: string) => dotRange(backendWith(PROCESSORS[name]!));
  t.equal(found('pmaddubsw'), 'seven-bit', 'x86 without VNNI saturates');
  t.equal(found('vpdpbusd'), 'unsigned', 'x86 with VNNI');
  t.equal(found('sdot'), 'signed', 'ARM');
  t.equal(found('broken'), undefined, 'not even what is promised');
  t.equal(dotRange(backendWith(undefined)), undefined, 'no such instruction');
  t.end();
});

test('8-bit dot product: bytes are shifted into its range, or not taken', (t) => {
  t.equal(shiftFor('seven-bit', 0, 127), 0, 'as they are');
  t.equal(shiftFor('seven-bit', -64, 63), 64);
  t.equal(shiftFor('seven-bit', -65, 0), undefined);
  t.equal(shiftFor('seven-bit', 0, 128), undefined);
  t.equal(shiftFor('unsigned', -128, 127), 128);
  t.equal(shiftFor('unsigned', 0, 255), 0);
  t.equal(shiftFor('signed', -128, 127), 0);
  t.equal(shiftFor('signed', 0, 255), -128);
  t.end();
});

/** The 8-bit rows look much faster than all others. */
function machine() {
  const speeds = KERNELS.map(({ name, dtype }) => [name, dtype === 'i8' ? 5000 : 1] as const);
  return { ...madeUpMachine(1), kernelGflops: Object.fromEntries(speeds) };
}

function sevenBits(random: Random, count: number, type: 'u8' | 'i8', extreme: boolean): Bytes {
  const bytes = randomBytes(random, count, type, extreme);
  return type === 'u8' ? bytes.map((byte) => byte >> 1) : bytes.map((byte) => byte >> 1);
}

test(seeded('8-bit dot product: exact for weights of seven bits'), async (t) => {
  const random = new Random(151);
  for (const threads of [1, 2]) {
    const rt = await createRuntimeWith(
      { threads, wisdom: false, engineFlags: 'allow' },
      { machine: machine() },
    );
    const backend = makeWasmBackend();
    const range = dotRange(backend);
    await backend.close();
    if (range === undefined) {
      // V8 11 has it, and adds products twice
      t.comment('SKIP: no 8-bit dot product here, or a wrong one');
      await rt.close();
      t.end();
      return;
    }
    const faults: string[] = [];
    let count = 0;
    for (let turn = 0; turn < 60; turn++) {
      const [m, n] = [random.pick([1, 2, 5, 17, 40]), random.pick([1, 3, 8, 16, 33, 70])];
      const k = random.pick([1, 3, 4, 5, 16, 63, 700, 1100]);
      const [aType, bType] = [random.pick(BYTE_TYPES), random.pick(BYTE_TYPES)];
      const extreme = random.chance(0.4);
      const transposeB = random.chance(0.5);
      const output: IntegerOutput = random.pick(['i32', 'u8', 'i8'] as const);
      const [x, w] = [randomBytes(random, m * k, aType, extreme), sevenBits(random, k * n, bType, extreme)];
      const zeroA = [lowest(aType) + random.int(0, 255)];
      const zeroB = Array.from({ length: random.pick([1, n]) }, () => lowest(bType) + random.int(0, 255));
      const shape = transposeB ? [n, k] : [k, n];
      const packed = rt.prepackInteger(bytesOf(w, shape), { zeroPoint: zeroB, transposeB, m });
      const spec = { op: 'matmulInteger', m, k, n, aType, bType, prepacked: packed, output } as const;
      const { plan } = rt.explain(spec);
      if (!plan.kernel.startsWith('i8_')) faults.push(`${m}x${k}x${n}: by ${plan.kernel}`);
      const scales = { scaleA: [0.03], scaleB: [0.02], scaleY: 0.7, zeroY: 3 };
      const left = bytesOf(x, [m, k]);
      const result =
        output === 'i32'
          ? rt.matmulIntegerSync(left, packed, { aZeroPoint: zeroA[0]! })
          : rt.qlinearMatmulSync(left, packed, {
              a: { scale: 0.03, zeroPoint: zeroA[0]! },
              b: { scale: 0.02 },
              y: { scale: 0.7, zeroPoint: 3, dtype: output },
            });
      const problem: QmatmulProblem = {
        op: 'qmatmul',
        plain: matmulProblem({ batch: 1, m, n, k }, { transposeB }),
        ...{ aType, bType, output, exact: false, bytePanels: false },
      };
      const asked = { a: x, b: w, zeroA, zeroB, ...(output === 'i32' ? NO_SCALES : scales) };
      const reason = difference(result.data, exactAnswer(problem, asked, m * n));
      if (reason) faults.push(`${m}x${k}x${n} ${aType} ${bType} ${output} ${transposeB}: ${reason}`);
      result.dispose();
      packed.dispose();
      count++;
    }
    t.deepEqual(faults.slice(0, 4), [], `${threads} threads: ${faults.length} faults in ${count} products`);
    t.equal(rt.memory().byOwner.prepacked, 0, 'all panels are freed');
    await rt.close();
  }
  t.end();
});

test(seeded('8-bit dot product: weights of eight bits go by others where it saturates'), async (t) => {
  const random = new Random(152);
  const rt = await createRuntimeWith(
    { threads: 1, wisdom: false, engineFlags: 'allow' },
    { machine: machine() },
  );
  const [m, k, n] = [9, 130, 40];
  const [x, w] = [randomBytes(random, m * k, 'u8', true), randomBytes(random, k * n, 'i8', true)];
  const packed = rt.prepackInteger(bytesOf(w, [k, n]), { m });
  const { plan, candidates } = rt.explain({ op: 'matmulInteger', m, k, n, prepacked: packed });
  const offered = candidates.some((candidate) => candidate.plan.kernel.startsWith('i8_'));
  t.comment(`${plan.kernel}, 8-bit kernels ${offered ? 'take' : 'do not take'} all bytes here`);
  const result = rt.matmulIntegerSync(bytesOf(x, [m, k]), packed, { aZeroPoint: 131 });
  const problem: QmatmulProblem = {
    op: 'qmatmul',
    plain: matmulProblem({ batch: 1, m, n, k }),
    ...{ aType: 'u8', bType: 'i8', output: 'i32', exact: false, bytePanels: false },
  };
  const asked = { a: x, b: w, zeroA: [131], zeroB: [0], ...NO_SCALES };
  t.equal(difference(result.data, exactAnswer(problem, asked, m * n)), undefined, 'exact all the same');
  await rt.close();
  t.end();
});
