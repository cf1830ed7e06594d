/** What can be wrong with a call on 8-bit integers is said before any work, with its code. */
import test from 'tape';
import { TesseraeError } from '../../../src/core/errors.ts';
import { makeRuntime } from '../../support/runtime.ts';

type Loose = Record<string, (...args: unknown[]) => unknown>;

test('wrong arguments', async (t) => {
  const rt = await makeRuntime();
  const loose = rt as unknown as Loose;
  const u8 = (...shape: number[]) => ({ data: new Uint8Array(shape.reduce((x, y) => x * y, 1)), shape });
  const f32 = (...shape: number[]) => ({ data: new Float32Array(shape.reduce((x, y) => x * y, 1)), shape });
  const by = { scale: 1 };
  const q = { a: by, b: by, y: by };
  const gone = rt.prepackInteger(u8(3, 4));
  gone.dispose();
  const packed = rt.prepackInteger(u8(3, 4));
  const cases: readonly [string, string, () => unknown][] = [
    ['floats', 'E_DTYPE', () => loose.matmulIntegerSync!(f32(2, 3), u8(3, 4))],
    ['a tensor of floats', 'E_DTYPE', () => loose.matmulIntegerSync!(rt.zeros([2, 3]), u8(3, 4))],
    [
      'integers for floats',
      'E_DTYPE',
      () => loose.matmulSync!(rt.tensor(new Uint8Array(6), [2, 3]), f32(3, 4)),
    ],
    ['inner extents', 'E_SHAPE', () => loose.matmulIntegerSync!(u8(2, 3), u8(4, 4))],
    [
      'data and shape',
      'E_SHAPE',
      () => loose.matmulIntegerSync!({ data: new Uint8Array(5), shape: [2, 3] }, u8(3, 4)),
    ],
    [
      'a zero point out of range',
      'E_ARGUMENT',
      () => loose.matmulIntegerSync!(u8(2, 3), u8(3, 4), { aZeroPoint: 256 }),
    ],
    [
      'a zero point that is no integer',
      'E_ARGUMENT',
      () => loose.matmulIntegerSync!(u8(2, 3), u8(3, 4), { bZeroPoint: 0.5 }),
    ],
    [
      'zero points of other rows',
      'E_SHAPE',
      () => loose.matmulIntegerSync!(u8(2, 3), u8(3, 4), { aZeroPoint: [1, 2, 3] }),
    ],
    ['an unknown option', 'E_ARGUMENT', () => loose.matmulIntegerSync!(u8(2, 3), u8(3, 4), { zero: 1 })],
    ['no scales', 'E_ARGUMENT', () => loose.qlinearMatmulSync!(u8(2, 3), u8(3, 4))],
    [
      'a scale of zero',
      'E_ARGUMENT',
      () => loose.qlinearMatmulSync!(u8(2, 3), u8(3, 4), { ...q, y: { scale: 0 } }),
    ],
    [
      'a scale of NaN',
      'E_ARGUMENT',
      () => loose.qlinearMatmulSync!(u8(2, 3), u8(3, 4), { ...q, a: { scale: Number.NaN } }),
    ],
    [
      'an out of another type',
      'E_DTYPE',
      () => loose.matmulIntegerSync!(u8(2, 3), u8(3, 4), { out: rt.zeros([2, 4]) }),
    ],
    ['a disposed prepacked operand', 'E_DISPOSED', () => loose.matmulIntegerSync!(u8(2, 3), gone)],
    [
      'zero points of a prepacked operand',
      'E_ARGUMENT',
      () => loose.matmulIntegerSync!(u8(2, 3), packed, { bZeroPoint: 1 }),
    ],
    ['prepacking a batch', 'E_SHAPE', () => loose.prepackInteger!(u8(2, 3, 4))],
    ['channels', 'E_SHAPE', () => loose.convIntegerSync!(u8(1, 3, 4, 4), u8(2, 2, 3, 3))],
    [
      'a bias of floats',
      'E_DTYPE',
      () => loose.qlinearConvSync!(u8(1, 1, 3, 3), u8(2, 1, 1, 1), { x: by, w: by, y: by, bias: f32(2) }),
    ],
    [
      'a bias of other channels',
      'E_SHAPE',
      () =>
        rt.qlinearConvSync(u8(1, 1, 3, 3), u8(2, 1, 1, 1), {
          x: by,
          w: by,
          y: by,
          bias: { data: new Int32Array(3), shape: [3] },
        }),
    ],
    [
      'a spec of an unknown type',
      'E_ARGUMENT',
      () => loose.explain!({ op: 'matmulInteger', m: 1, k: 1, n: 1, aType: 'u4' }),
    ],
  ];
  const before = rt.memory().used;
  for (const [what, code, run] of cases) {
    let got: unknown;
    try {
      await run();
    } catch (error) {
      got = error;
    }
    t.equal(got instanceof TesseraeError ? got.code : `${got ?? 'nothing was thrown'}`, code, what);
  }
  const rejected = await rt.matmulInteger(u8(2, 3), u8(4, 4)).catch((error: unknown) => error);
  t.equal(rejected instanceof TesseraeError && rejected.code, 'E_SHAPE', 'promises reject');
  t.ok(rt.memory().used - before < 1024, 'nothing is left in memory');
  await rt.close();
  t.throws(() => rt.matmulIntegerSync(u8(2, 3), u8(3, 4)), /E_CLOSED/, 'closed');
});
