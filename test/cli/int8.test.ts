import test from 'tape';
import { HostedContestant } from '../../src/cli/bench/hosted.ts';
import { kindOf } from '../../src/cli/bench/kinds.ts';
import {
  bytesOf,
  flopsOf,
  isMemoryBound,
  makeOperands,
  type QmatmulOperands,
} from '../../src/cli/bench/operands.ts';
import { ours } from '../../src/cli/bench/ours.ts';
import { onnxModel } from '../../src/cli/bench/peers/onnx-model.ts';
import { quantizedGains } from '../../src/cli/bench/quantized.ts';
import { race } from '../../src/cli/bench/race.ts';
import type { BenchReport } from '../../src/cli/bench/report.ts';
import { isUnsupported } from '../../src/cli/bench/types.ts';
import { methodFor, type VerifyMethod, verify } from '../../src/cli/bench/verify.ts';
import {
  parseShape,
  parseShapeFile,
  printShape,
  type QmatmulShape,
  shapeList,
} from '../../src/cli/shapes/index.ts';
import { createRuntime } from '../../src/index.ts';
import { QUICK_RACE, runCli } from './support.ts';

const METHODS: readonly VerifyMethod[] = ['every element', 'random vector'];

function int8(text: string): QmatmulShape {
  const shape = parseShape(text);
  if (shape.kind !== 'qmatmul') throw new Error(`${text} is no product of integers`);
  return shape;
}

/** In whole numbers of any size, wrapped at the end: written otherwise than the check. */
function multiply({ shape, a, b }: QmatmulOperands): Int32Array {
  const { m, k, n, aZeroPoint, bZeroPoint } = shape;
  return Int32Array.from({ length: m * n }, (_, at) => {
    const [i, j] = [Math.floor(at / n), at % n];
    let sum = 0n;
    for (let p = 0; p < k; p++) {
      sum += BigInt((a[i * k + p] ?? 0) - aZeroPoint) * BigInt((b[p * n + j] ?? 0) - bZeroPoint);
    }
    return Number(BigInt.asIntN(32, sum));
  });
}

test('int8 shapes: text', (t) => {
  const plain = int8(' INT8 128 x 768 × 3072 ');
  t.deepEqual([plain.m, plain.k, plain.n], [128, 768, 3072], 'm x k x n');
  t.deepEqual([plain.aZeroPoint, plain.bZeroPoint], [131, 0], 'the usual zero points');
  for (const text of [
    'int8 1x2x3',
    'int8 1x2x3 azero=0',
    'int8 4x5x6 azero=255 bzero=-128',
    'int8 4x5x6 bzero=127',
  ])
    t.equal(printShape(parseShape(text)), text, text);
  t.equal(
    printShape(int8('int8 1x2x3 bzero=0 AZERO=131')),
    'int8 1x2x3',
    'printed only where they are not usual',
  );
  t.deepEqual({ ...int8(printShape(plain)) }, { ...plain }, 'printing and parsing are inverses');
  const file = parseShapeFile('["int8 1x2x3", {"shape": "int8 4x5x6 bzero=9", "name": "mine"}]');
  t.deepEqual(file.map(printShape), ['int8 1x2x3', 'int8 4x5x6 bzero=9']);
  t.equal(file[1]?.name, 'mine', 'a name of its own');
  t.end();
});

test('int8 shapes: bad text is refused with a reason', (t) => {
  const cases: readonly (readonly [text: string, reason: RegExp])[] = [
    ['int8', /"int8" is no shape; write int8 m x k x n/],
    ['int8 3x4', /is no shape/],
    ['int8 2x3x4x5', /is no shape/],
    ['int8 0x3x4', /m must be a whole number from 1 up/],
    ['int8 3x4x5 relu', /unknown word "relu"; known are azero/],
    ['int8 3x4x5 azero=256', /"azero=256": a zero point there is from 0 to 255/],
    ['int8 3x4x5 azero=-1', /from 0 to 255/],
    ['int8 3x4x5 bzero=128', /from -128 to 127/],
    ['int8 3x4x5 bzero=1.5', /unknown word/],
    ['int8 99999x9x99999', /does not fit/],
  ];
  for (const [text, reason] of cases) t.throws(() => parseShape(text), reason, text);
  t.throws(() => parseShapeFile('8x8x8\nint8 1x2'), /line 2: "int8 1x2" is no shape/);
  t.end();
});

test('int8 shapes: each of the list is followed by its float form', (t) => {
  const shapes = shapeList('int8')?.shapes ?? [];
  t.ok(shapes.length >= 20, `${shapes.length} shapes`);
  for (const [index, shape] of shapes.entries()) {
    if (shape.kind !== 'qmatmul') continue;
    const next = shapes[index + 1];
    t.equal(next && printShape(next), `${shape.m}x${shape.k}x${shape.n} prepacked`, printShape(shape));
  }
  t.equal(shapes.filter(({ kind }) => kind === 'qmatmul').length, shapes.length / 2, 'and nothing else');
  const row = int8('int8 1x1024x4096');
  t.equal(flopsOf(row), 2 * 1024 * 4096);
  t.equal(bytesOf(row), 1024 + 1024 * 4096 + 4 * 4096, 'bytes of bytes, and sums of 32 bits');
  t.ok(isMemoryBound(row) && !isMemoryBound(int8('int8 2x2x2')), 'one row is bound by memory');
  t.equal(kindOf(row), 'int8 product');
  t.end();
});

test('int8 operands: seeded by the shape, the whole range with its ends', (t) => {
  const { a, b } = makeOperands(int8('int8 40x50x60'));
  t.deepEqual(makeOperands(int8('int8 40x50x60')).a, a, 'the same shape has the same numbers');
  t.notDeepEqual(makeOperands(int8('int8 40x50x60 bzero=1')).a, a, 'another one has others');
  t.ok(a.includes(0) && a.includes(255) && b.includes(-128) && b.includes(127), 'the ends');
  t.ok(new Set(a).size > 240 && new Set(b).size > 240, 'and what lies between');
  t.ok(a.filter((value) => value === 255).length > a.length / 20, 'the ends are frequent');
  t.end();
});

const RIGHT = [
  'int8 1x1x1',
  'int8 7x13x5',
  'int8 1x301x40 azero=0 bzero=-128',
  'int8 9x64x1 azero=255 bzero=127',
  'int8 40x33x50 bzero=-3',
];

test('int8 verify: right answers pass', (t) => {
  for (const text of RIGHT) {
    const operands = makeOperands(int8(text));
    const c = multiply(operands);
    for (const method of METHODS) {
      const verdict = verify(operands, c, method);
      t.ok(verdict.ok, `${text} by ${method}${verdict.ok ? '' : `: ${verdict.reason}`}`);
    }
  }
  t.end();
});

test('int8 verify: sums that wrap around are right answers', (t) => {
  const operands = makeOperands(int8('int8 1x40000x2 azero=0 bzero=127'));
  operands.a.fill(255);
  operands.b.fill(-128);
  const c = multiply(operands);
  t.notEqual(c[0], -255 * 255 * 40000, 'the sum does not fit');
  for (const method of METHODS) t.ok(verify(operands, c, method).ok, method);
  t.end();
});

test('int8 verify: each single wrong element is caught, by any difference', (t) => {
  const operands = makeOperands(int8('int8 11x37x13'));
  const c = multiply(operands);
  for (const method of METHODS) {
    for (const by of [1, -1, 2 ** 8, 2 ** 16, 2 ** 24, -(2 ** 31)]) {
      const missed = [...c.keys()].filter((place) => {
        const wrong = c.slice();
        wrong[place] = ((wrong[place] ?? 0) + by) | 0;
        return verify(operands, wrong, method).ok;
      });
      t.deepEqual(missed, [], `off by ${by}, by ${method}`);
    }
    const wrong = c.slice();
    wrong[5 * 13 + 7]!++;
    const verdict = verify(operands, wrong, method);
    t.match(
      verdict.ok ? '' : verdict.reason,
      /^element \[5, 7\] is -?\d+ instead of -?\d+$/,
      'with its place',
    );
  }
  t.end();
});

test('int8 verify: what wrong implementations give is caught', (t) => {
  const operands = makeOperands(int8('int8 23x64x31 azero=128 bzero=-3'));
  const { shape } = operands;
  const c = multiply(operands);
  const wrong: Readonly<Record<string, Int32Array | Float32Array>> = {
    'no zero point of a': multiply({ ...operands, shape: { ...shape, aZeroPoint: 0 } }),
    'no zero point of b': multiply({ ...operands, shape: { ...shape, bZeroPoint: 0 } }),
    'a taken as signed': multiply({ ...operands, a: new Int8Array(operands.a) as unknown as Uint8Array }),
    'b taken as unsigned': multiply({ ...operands, b: new Uint8Array(operands.b) as unknown as Int8Array }),
    'saturated pairs': c.map((value) => Math.max(-32768, Math.min(32767, value))),
    'two columns of a row swapped': swapped(c, 31 * 4, 31 * 4 + 1),
    'two rows swapped at one column': swapped(c, 31 * 4, 31 * 5),
    'one element never written': c.with(17, -(2 ** 31)),
    floats: Float32Array.from(c),
    'wrong length': c.subarray(1),
  };
  for (const [name, result] of Object.entries(wrong)) {
    for (const method of METHODS) t.notOk(verify(operands, result, method).ok, `${name}, by ${method}`);
  }
  const floats = makeOperands(parseShape('2x2x2'));
  t.notOk(verify(floats, new Int32Array(4)).ok, 'integers for a product of floats');
  t.end();
});

function swapped(c: Int32Array, one: number, other: number): Int32Array {
  return c.with(one, c[other] ?? 0).with(other, c[one] ?? 0);
}

test('int8 verify: big ones by a random vector, still to the last bit', (t) => {
  const operands = makeOperands(int8('int8 300x300x200'));
  t.equal(methodFor(operands), 'random vector');
  t.equal(methodFor(makeOperands(int8('int8 64x64x64'))), 'every element');
  const c = multiply(operands);
  t.ok(verify(operands, c).ok, 'the right answer');
  for (const place of [0, 12_345, 31_000, c.length - 1]) {
    t.notOk(verify(operands, c.with(place, (c[place] ?? 0) + 1)).ok, `element ${place} off by one`);
  }
  t.end();
});

test('int8 verify: no column of a wide row is left out', (t) => {
  const operands = makeOperands(int8('int8 1x2x4000'));
  const c = multiply(operands);
  const missed = [...c.keys()].filter(
    (j) => verify(operands, c.with(j, (c[j] ?? 0) + 1), 'random vector').ok,
  );
  t.deepEqual(missed, []);
  t.end();
});

test('int8: our own answers, poisoned output and all', async (t) => {
  await using runtime = await createRuntime({ threads: 1, wisdom: false });
  const peer = ours(runtime);
  for (const text of [...RIGHT, 'int8 65x257x127']) {
    const {
      outcomes: [outcome],
    } = await race([new HostedContestant(peer, host())], parseShape(text), QUICK_RACE);
    t.equal(
      outcome?.status,
      'timed',
      `${text}${outcome && 'reason' in outcome ? `: ${outcome.reason}` : ''}`,
    );
  }
  const operands = makeOperands(int8('int8 7x13x5'));
  const prepared = await peer.prepare(operands);
  if (isUnsupported(prepared)) return t.fail(prepared.unsupported);
  await prepared.run();
  const right = await prepared.result();
  prepared.poison?.();
  t.notOk(verify(operands, await prepared.result()).ok, 'a poisoned output is no answer');
  t.ok(verify(operands, right).ok, 'and the result was a copy');
  prepared.dispose();
  t.end();
});

function host() {
  return { now: () => performance.now(), settle: async () => undefined };
}

test('int8: constants are inside the ONNX model', (t) => {
  const operands = makeOperands(int8('int8 3x5x7 azero=128 bzero=-3'));
  const written = onnxModel(operands);
  t.deepEqual(
    written?.feeds.map(({ name, type, dims }) => [name, type, dims]),
    [['X', 'uint8', [3, 5]]],
  );
  t.ok(Buffer.from(written?.model ?? []).includes(Buffer.from(operands.b.buffer)), 'the weights');
  t.ok(Buffer.from(written?.model ?? []).includes('MatMulInteger'), 'the operator');
  t.end();
});

test('int8: gains over the float form, for each contestant that was timed on both', (t) => {
  const row = (text: string, times: Readonly<Record<string, number | undefined>>) => ({
    key: text,
    shape: parseShape(text),
    cells: Object.entries(times).map(([id, median]) =>
      median === undefined ? { id, status: 'unsupported' } : { id, status: 'timed', summary: { median } },
    ),
  });
  const rows = [
    row('int8 8x9x10', { tesserae: 2, web: 4, plain: undefined }),
    row('8x9x10 prepacked', { tesserae: 3, web: 2, plain: 1 }),
    row('int8 8x9x10 bzero=4', { tesserae: 6 }),
    row('int8 8x9x11', { tesserae: 1 }),
    row('8x9x11', { tesserae: 1 }),
  ];
  t.deepEqual(quantizedGains({ rows } as unknown as BenchReport), [
    {
      key: 'int8 8x9x10',
      over: [
        { id: 'tesserae', ratio: 1.5 },
        { id: 'web', ratio: 0.5 },
      ],
    },
    { key: 'int8 8x9x10 bzero=4', over: [{ id: 'tesserae', ratio: 0.5 }] },
  ]);
  t.end();
});

test('int8: the command shows operations, and what quantising gains', async (t) => {
  const shapes = 'int8 33x65x17,33x65x17 prepacked';
  const argv = ['bench', '--shapes', shapes, '--no-cold', '--no-wisdom', '--threads', '1', '--time', '1'];
  const { code, out, err } = await runCli(argv);
  t.equal(code, 0, err);
  t.match(out, /int8 33x65x17 +tesserae +\S+ Gop\/s/);
  t.match(out, /33x65x17 prepacked +tesserae +\S+ GFLOP\/s/);
  t.match(out, /int8 over its f32 form +tesserae\nint8 33x65x17 +\S+x/);
  t.end();
});
