/** Windows and keys: padding forms and extents against formulas of their own, and no two problems with one key. */
import test from 'tape';
import { TesseraeError } from '../../src/core/errors.ts';
import { CONV_ALGORITHMS, convProblem } from '../../src/problem/conv.ts';
import { ACTIVATION_KINDS } from '../../src/problem/epilogue.ts';
import type { PoolProblem } from '../../src/problem/pool.ts';
import { keyOf, type Problem } from '../../src/problem/problem.ts';
import { type Padding, type Pair, type Window, windowOf } from '../../src/problem/window.ts';
import { Random, seeded } from '../support/seed.ts';

/** The formulas of the ONNX operators, floor and ceil. */
function onnxExtent(
  size: number,
  span: number,
  stride: number,
  pads: number,
): { floor: number; ceil: number } {
  return {
    floor: Math.floor((size + pads - span) / stride) + 1,
    ceil: Math.ceil((size + pads - span) / stride) + 1,
  };
}

const SIZES = [1, 2, 3, 4, 5, 6, 7, 8, 13, 14, 15, 224];

/** Every axis with small extents: size, taps, stride, dilation. */
function* axes(): Generator<{ size: number; k: number; stride: number; dilation: number; span: number }> {
  for (const size of SIZES)
    for (const k of [1, 2, 3, 4, 5, 7])
      for (const stride of [1, 2, 3, 4])
        for (const dilation of [1, 2, 3]) yield { size, k, stride, dilation, span: (k - 1) * dilation + 1 };
}

/** A window along the width of an image of one row. */
function along(size: number, k: number, options: Parameters<typeof windowOf>[2]): Window {
  return windowOf({ height: 1, width: size }, { kH: 1, kW: k }, options);
}

test('same: the input divided by the stride, rounded up, and the odd pixel at the right end', (t) => {
  const wrong: unknown[] = [];
  let odd = 0;
  for (const { size, k, stride, dilation, span } of axes()) {
    const options = { stride: [1, stride], dilation: [1, dilation] } as const;
    const upper = along(size, k, { ...options, padding: 'same' });
    const lower = along(size, k, { ...options, padding: 'same-lower' });
    const out = Math.floor((size - 1) / stride) + 1;
    const total = Math.max(0, (out - 1) * stride + span - size);
    const [less, more] = [total >> 1, total - (total >> 1)];
    if (total % 2) odd++;
    const good =
      upper.outW === out &&
      upper.padLeft === less &&
      upper.padRight === more &&
      lower.outW === out &&
      lower.padLeft === more &&
      lower.padRight === less &&
      upper.padTop + upper.padBottom + lower.padTop + lower.padBottom === 0;
    if (!good) wrong.push({ size, k, stride, dilation, upper, lower });
  }
  t.deepEqual(wrong.slice(0, 2), [], 'all axes');
  t.ok(odd > 100, `${odd} with an odd pixel`);
  t.end();
});

test('numbers: top, left, bottom, right in the order of ONNX', (t) => {
  const read = (padding: Padding) => {
    const w = windowOf({ height: 9, width: 9 }, { kH: 3, kW: 3 }, { padding });
    return [w.padTop, w.padLeft, w.padBottom, w.padRight, w.outH, w.outW];
  };
  t.deepEqual(read(0), [0, 0, 0, 0, 7, 7]);
  t.deepEqual(read('valid'), [0, 0, 0, 0, 7, 7]);
  t.deepEqual(read(2), [2, 2, 2, 2, 11, 11]);
  t.deepEqual(read([1, 2]), [1, 2, 1, 2, 9, 11], 'vertical, horizontal');
  t.deepEqual(read([1, 2, 3, 4]), [1, 2, 3, 4, 11, 13]);
  const pair = windowOf({ height: 9, width: 9 }, { kH: 2, kW: 3 }, { stride: [1, 2], dilation: [3, 1] });
  t.deepEqual([pair.strideH, pair.strideW, pair.dilationH, pair.dilationW], [1, 2, 3, 1]);
  t.deepEqual([pair.outH, pair.outW], [6, 4], 'vertical first');
  t.end();
});

test('extents: floor, and ceil without windows that begin behind the image', (t) => {
  const wrong: unknown[] = [];
  let [longer, shortened, hanging] = [0, 0, 0];
  for (const { size, k, stride, dilation, span } of axes()) {
    for (const [before, after] of [
      [0, 0],
      [1, 1],
      [0, 2],
      [2, 0],
      [2, 1],
    ] as const) {
      if (before >= k || after >= k) continue;
      const options = { stride, dilation, padding: [0, before, 0, after] } as const;
      const { floor, ceil } = onnxExtent(size, span, stride, before + after);
      const cut = (ceil - 1) * stride >= size + before;
      if (ceil > floor) longer++;
      if (cut) shortened++;
      const most = cut ? ceil - 1 : ceil;
      const fits = size + before + after >= span;
      if (!fits && most > 0) hanging++;
      const down = fits ? along(size, k, options).outW : floor;
      const up = most > 0 ? along(size, k, { ...options, ceil: true }).outW : most;
      if (down !== floor || up !== most) wrong.push({ size, k, options, down, up });
    }
  }
  t.deepEqual(wrong.slice(0, 2), [], 'all axes');
  t.ok(
    longer > 100 && shortened > 10 && hanging > 10,
    `${longer} are longer in ceil mode, ${shortened} would begin behind the image, ${hanging} are of windows larger than it`,
  );
  t.end();
});

test('a window that does not fit, and options that are none', (t) => {
  const codeOf = (run: () => unknown) => {
    try {
      run();
      return 'none';
    } catch (error) {
      return error instanceof TesseraeError ? error.code : String(error);
    }
  };
  const make =
    (options: object, k = 3) =>
    () =>
      windowOf({ height: 5, width: 5 }, { kH: k, kW: k }, options);
  t.equal(codeOf(make({}, 6)), 'E_SHAPE', 'a filter larger than the image');
  t.equal(codeOf(make({ dilation: 3 })), 'E_SHAPE', 'taps farther apart than the image is wide');
  t.equal(codeOf(make({ padding: [0, 0, 0, 1] }, 6)), 'E_SHAPE', 'padded in one direction only');
  t.equal(codeOf(make({ padding: 1 }, 7)), 'none', 'just fits');
  const paddings = [
    -1,
    1.5,
    Number.NaN,
    [1],
    [1, 2, 3],
    [1, 2, 3, 4, 5],
    [1, -1],
    'SAME',
    '',
    null,
    {},
    ['1', 1],
    [
      [1, 1],
      [1, 1],
    ],
  ];
  for (const padding of paddings)
    t.equal(codeOf(make({ padding })), 'E_ARGUMENT', `padding ${JSON.stringify(padding)}`);
  for (const value of [
    0,
    -1,
    1.5,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    '2',
    null,
    [],
    [1],
    [1, 2, 3],
    [1, 0],
    {},
  ]) {
    t.equal(codeOf(make({ stride: value })), 'E_ARGUMENT', `stride ${JSON.stringify(value)}`);
    t.equal(codeOf(make({ dilation: value })), 'E_ARGUMENT', `dilation ${JSON.stringify(value)}`);
  }
  t.end();
});

function randomWindow(random: Random): Window | undefined {
  const pair = (low: number, high: number): Pair =>
    random.chance(0.5) ? random.int(low, high) : [random.int(low, high), random.int(low, high)];
  const side = () => random.int(0, 2);
  const padding = random.pick<Padding>([
    'same',
    'same-lower',
    0,
    1,
    [side(), side()],
    [side(), side(), side(), side()],
  ]);
  const image = { height: random.int(1, 12), width: random.int(1, 12) };
  const filter = { kH: random.int(1, 3), kW: random.int(1, 3) };
  try {
    return windowOf(image, filter, {
      stride: pair(1, 3),
      dilation: pair(1, 2),
      padding,
      ceil: random.chance(0.3),
    });
  } catch {
    return undefined;
  }
}

function randomProblem(random: Random): Problem | undefined {
  const window = randomWindow(random);
  if (!window) return undefined;
  const layout = random.pick(['nchw', 'nhwc'] as const);
  const [batch, exact] = [random.int(1, 2), random.chance(0.3)];
  if (random.chance(0.4)) {
    const pool: PoolProblem = {
      op: 'pool',
      dtype: 'f32',
      kind: random.pick(['max', 'average']),
      layout,
      batch,
      channels: random.int(1, 3),
      ...window,
      countPadding: false,
      exact,
    };
    return pool.kind === 'average' ? { ...pool, countPadding: random.chance(0.5) } : pool;
  }
  const groups = random.int(1, 2);
  return convProblem({ batch, inC: groups * random.int(1, 2), outC: groups * random.int(1, 2) }, window, {
    layout,
    groups,
    exact,
    bias: random.chance(0.5),
    residual: random.chance(0.5),
    prepacked: random.chance(0.5),
    activation: random.pick(ACTIVATION_KINDS),
    algorithm: random.pick([undefined, ...CONV_ALGORITHMS]),
  });
}

/** A problem's fields in one order, as text. */
function fieldsOf(p: Problem): string {
  return JSON.stringify(Object.entries(p).sort(([x], [y]) => (x < y ? -1 : 1)));
}

test(seeded('keys: different problems never share one, equal problems do'), (t) => {
  const random = new Random(2100);
  const known = new Map<string, string>();
  const clashes: string[] = [];
  let count = 0;
  for (let turn = 0; turn < 40_000; turn++) {
    const p = randomProblem(random);
    if (!p) continue;
    count++;
    const [key, fields] = [keyOf(p), fieldsOf(p)];
    if (keyOf({ ...p }) !== key) clashes.push(`${key}: another key the second time`);
    const other = known.get(key);
    if (other !== undefined && other !== fields) clashes.push(`${key}: ${fields} and ${other}`);
    known.set(key, fields);
  }
  t.deepEqual(clashes.slice(0, 2), [], `${count} problems, ${known.size} keys, ${clashes.length} clashes`);
  t.end();
});

test(seeded('keys: a change of any field of the problem changes the key'), (t) => {
  const random = new Random(2101);
  const missed = new Set<string>();
  let count = 0;
  for (let turn = 0; turn < 3000; turn++) {
    const p = randomProblem(random);
    if (!p) continue;
    for (const [name, value] of Object.entries(p)) {
      // sizes of results follow from the other fields; a change of them alone is no problem
      if (['op', 'dtype', 'layout', 'kind', 'activation', 'algorithm', 'outH', 'outW'].includes(name))
        continue;
      if (name === 'countPadding' && p.op === 'pool' && p.kind === 'max') continue;
      const changed = { ...p, [name]: typeof value === 'number' ? value + 1 : !value };
      if (keyOf(changed) === keyOf(p)) missed.add(name);
      count++;
    }
  }
  t.deepEqual([...missed], [], `${count} changes`);
  t.end();
});
