import test from 'tape';
import { type MatmulOperands, makeOperands } from '../../src/cli/bench/operands.ts';
import { plainJs } from '../../src/cli/bench/peers/plain-js.ts';
import { isAbsent, isUnsupported } from '../../src/cli/bench/types.ts';
import { methodFor, type VerifyMethod, verify } from '../../src/cli/bench/verify.ts';
import { parseMatmul } from '../../src/cli/shapes/index.ts';

async function rightAnswer(operands: MatmulOperands): Promise<Float32Array> {
  const peer = await plainJs.load({ threads: 1, searchFrom: [] });
  if (isAbsent(peer)) throw new Error(peer.absent);
  const prepared = await peer.prepare(operands);
  if (isUnsupported(prepared)) throw new Error(prepared.unsupported);
  prepared.run();
  return (await prepared.result()) as Float32Array;
}

const METHODS: readonly VerifyMethod[] = ['every element', 'random vector', 'sampled rows'];

test('verify: chains, right and with one element a hundredth off', async (t) => {
  const operands = makeOperands(parseMatmul('9x48x48 chain=5'));
  const { shape, b } = operands;
  const plain = { ...shape, chain: undefined } as unknown as MatmulOperands['shape'];
  let c = operands.a;
  for (let step = 0; step < 5; step++)
    c = (await rightAnswer({ ...operands, shape: plain, a: c, b })).slice();
  const verdict = verify(operands, c);
  t.ok(verdict.ok, verdict.ok ? 'right' : verdict.reason);
  c[100]! *= 1.01;
  t.notOk(verify(operands, c).ok, 'one element off');
  c[100] = Number.NaN;
  t.notOk(verify(operands, c).ok, 'not a number');
  t.end();
});

test('verify: right answers pass', async (t) => {
  const shapes = [
    '1x1x1',
    '7x13x5',
    '9x257x11 transposeB',
    '3x5x40x6 transposeB bias=row',
    '8x9x10 bias=column relu',
    '5x64x5 gelu',
  ];
  for (const text of shapes) {
    const operands = makeOperands(parseMatmul(text));
    const c = await rightAnswer(operands);
    const nonlinear = operands.shape.activation !== undefined;
    for (const method of METHODS) {
      if (method === 'random vector' && nonlinear) continue;
      const verdict = verify(operands, c, method);
      t.ok(verdict.ok, `${text} by ${method}${verdict.ok ? '' : `: ${verdict.reason}`}`);
    }
  }
  t.end();
});

test('verify: planted errors are caught', async (t) => {
  const operands = makeOperands(parseMatmul('40x300x50'));
  const c = await rightAnswer(operands);
  const plants: Readonly<Record<string, (wrong: Float32Array) => void>> = {
    'one element off by a thousandth of the largest': (wrong) => {
      wrong[777] = (wrong[777] ?? 0) + 0.02;
    },
    'one NaN': (wrong) => {
      wrong[1999] = Number.NaN;
    },
    'two rows swapped': (wrong) => {
      const row = wrong.slice(0, 50);
      wrong.copyWithin(0, 50, 100);
      wrong.set(row, 50);
    },
    'two columns swapped in one row': (wrong) => {
      [wrong[150], wrong[151]] = [wrong[151] ?? 0, wrong[150] ?? 0];
    },
    'an element never written': (wrong) => {
      wrong[0] = 0;
    },
  };
  for (const [name, plant] of Object.entries(plants)) {
    const wrong = c.slice();
    plant(wrong);
    for (const method of ['every element', 'random vector'] as const) {
      const verdict = verify(operands, wrong, method);
      t.notOk(verdict.ok, `${name}, by ${method}`);
    }
  }
  t.notOk(verify(operands, c.subarray(1)).ok, 'wrong length');
  t.end();
});

test('verify: one forgotten step of k is caught in a long sum', async (t) => {
  const operands = makeOperands(parseMatmul('6x4096x6'));
  const c = await rightAnswer(operands);
  for (const method of ['every element', 'random vector'] as const) {
    const wrong = c.map(
      (value, i) =>
        value - (operands.a[Math.floor(i / 6) * 4096 + 4095] ?? 0) * (operands.b[4095 * 6 + (i % 6)] ?? 0),
    );
    t.notOk(verify(operands, wrong, method).ok, method);
  }
  t.end();
});

test('verify: the method follows the size', (t) => {
  t.equal(methodFor(makeOperands(parseMatmul('64x64x64'))), 'every element');
  t.equal(methodFor(makeOperands(parseMatmul('256x257x256'))), 'random vector');
  t.equal(
    methodFor(makeOperands(parseMatmul('256x257x256 relu'))),
    'sampled rows',
    'an activation is not linear',
  );
  t.end();
});

test('operands: seeded by the shape, neither constant nor alike', (t) => {
  const [first, again, other] = ['9x9x9', '9x9x9', '9x9x9 relu'].map((text) =>
    makeOperands(parseMatmul(text)),
  );
  t.deepEqual(first?.a, again?.a, 'the same shape has the same numbers');
  t.notDeepEqual(first?.a, other?.a, 'another one has others');
  t.ok(new Set(first?.a).size > 75, 'values differ');
  t.end();
});
