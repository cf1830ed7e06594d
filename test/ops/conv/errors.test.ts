/**
 * Bad input to every public method on images: a typed error with a documented code, the values and a hint, before any work.
 * Nothing is allocated, and no value of any type makes anything else come out.
 */
import test from 'tape';
import { ERROR_CODES, type ErrorCode, TesseraeError } from '../../../src/index.ts';
import type { Runtime, RuntimeOptions } from '../../../src/ops/types.ts';
import { failure } from '../../support/faulty.ts';
import { makeRuntime } from '../../support/runtime.ts';
import { Random, seeded } from '../../support/seed.ts';

/** What no compiler would let pass: callers in plain JavaScript have no compiler. */
type Loose = { readonly [name in keyof Runtime]: (...args: unknown[]) => unknown };
type Case = readonly [name: string, code: ErrorCode, run: () => unknown];

async function make(options: RuntimeOptions = {}): Promise<{ rt: Runtime; loose: Loose }> {
  const rt = await makeRuntime({ memory: { maximum: 64 * 2 ** 20 }, ...options }, 260);
  return { rt, loose: rt as unknown as Loose };
}

/** Why an error is not what is promised, or undefined. */
function flaw(error: unknown, code: ErrorCode): string | undefined {
  if (error === undefined) return 'nothing was thrown';
  if (!(error instanceof TesseraeError)) return `foreign: ${String(error)}`;
  if (error.code !== code) return `${error.code} instead of ${code}: ${error.message}`;
  if (typeof error.hint !== 'string' || error.hint.length < 5) return `no hint: ${error.message}`;
  if (code !== 'E_CLOSED' && Object.keys(error.values).length === 0) return `no values: ${error.message}`;
  return undefined;
}

async function runCases(t: test.Test, rt: Runtime, cases: readonly Case[]): Promise<void> {
  const before = rt.memory();
  const flaws: string[] = [];
  for (const [name, code, run] of cases) {
    const found = flaw(await failure(run), code);
    if (found) flaws.push(`${name}: ${found}`);
  }
  t.deepEqual(flaws, [], `${cases.length} cases`);
  t.deepEqual(rt.memory(), before, 'nothing is allocated');
}

const array = (shape: readonly number[]) => ({
  data: new Float32Array(shape.reduce((size, extent) => size * extent, 1)),
  shape,
});

const IMAGE = [1, 4, 6, 6] as const;
const FILTER = [2, 4, 3, 3] as const;

/** The same wrong call, awaited and not. */
function both(
  loose: Loose,
  method: 'conv2d' | 'maxPool2d' | 'averagePool2d' | 'globalPool2d' | 'convTranspose2d',
  name: string,
  code: ErrorCode,
  ...args: readonly unknown[]
): Case[] {
  return [
    [`${method} ${name}`, code, () => loose[method](...args)],
    [`${method}Sync ${name}`, code, () => loose[`${method}Sync`](...args)],
  ];
}

test('shapes of images and filters', async (t) => {
  const { rt, loose } = await make();
  const cases = (
    [
      ['an image of rank 3', [4, 6, 6], FILTER, {}],
      ['an image of rank 5', [1, 1, 4, 6, 6], FILTER, {}],
      ['a filter of rank 3', IMAGE, [2, 4, 3], {}],
      ['a filter of rank 2', IMAGE, [2, 36], {}],
      ['channels that differ', IMAGE, [2, 3, 3, 3], {}],
      ['channels last without nhwc', [1, 6, 6, 4], FILTER, {}],
      ['channels first with nhwc', IMAGE, FILTER, { layout: 'nhwc' }],
      ['groups that do not divide inputs', IMAGE, [3, 1, 3, 3], { groups: 3 }],
      ['groups that do not divide outputs', IMAGE, [3, 2, 3, 3], { groups: 2 }],
      ['more groups than channels', IMAGE, [8, 1, 3, 3], { groups: 8 }],
      ['a filter that does not fit', IMAGE, [2, 4, 7, 7], {}],
      ['a dilated filter that does not fit', IMAGE, FILTER, { dilation: 3 }],
      ['bias of another length', IMAGE, FILTER, { bias: array([4]) }],
      ['bias of rank 2', IMAGE, FILTER, { bias: array([2, 1]) }],
      ['a residual of the input shape', IMAGE, FILTER, { residual: array(IMAGE) }],
      ['a residual that would broadcast', IMAGE, FILTER, { residual: array([1, 2, 1, 1]) }],
      ['a residual of rank 3', IMAGE, FILTER, { residual: array([2, 4, 4]) }],
      ['slopes of another length', IMAGE, FILTER, { activation: { kind: 'prelu', slope: array([3]) } }],
    ] as const
  ).flatMap(([name, image, filter, options]) =>
    both(loose, 'conv2d', name, 'E_SHAPE', array(image), array(filter), options),
  );
  using out = rt.zeros([1, 2, 6, 6]);
  cases.push(
    ...both(loose, 'conv2d', 'out of another shape', 'E_SHAPE', array(IMAGE), array(FILTER), { out }),
    ...both(loose, 'maxPool2d', 'rank 3', 'E_SHAPE', array([4, 6, 6]), 2),
    ...both(loose, 'averagePool2d', 'too large a window', 'E_SHAPE', array(IMAGE), 7),
    ...both(loose, 'globalPool2d', 'rank 2', 'E_SHAPE', array([4, 6]), 'max'),
    ...both(loose, 'maxPool2d', 'out of another shape', 'E_SHAPE', array(IMAGE), 2, { out }),
  );
  for (const extent of [Number.NaN, -1, 1.5, '3', null]) {
    const bad = { data: new Float32Array(4), shape: [1, 4, 1, extent] };
    cases.push(...both(loose, 'conv2d', `extent ${String(extent)}`, 'E_SHAPE', bad, array([2, 4, 1, 1])));
  }
  const short = { data: new Float32Array(143), shape: IMAGE };
  cases.push(...both(loose, 'conv2d', 'data shorter than its shape', 'E_SHAPE', short, array(FILTER)));
  await runCases(t, rt, cases);
  await rt.close();
});

test('options', async (t) => {
  const { rt, loose } = await make();
  const [x, w] = [array(IMAGE), array(FILTER)];
  const common: Readonly<Record<string, readonly unknown[]>> = {
    stride: [0, -1, 1.5, '2', null, [1], [1, 2, 3], [1, 0], {}, Number.NaN],
    dilation: [0, -1, [1, '1'], null],
    padding: [-1, 'SAME', 'full', null, [1], [1, 2, 3], [0, 0, 0, -1], 0.5, {}, true],
    layout: ['NCHW', 'hwc', null, 1],
    out: [5, {}, array([1, 2, 4, 4]), null],
    strides: [1],
    pads: [0],
  };
  const convOnly = {
    groups: [0, -1, 1.5, '2', null],
    algorithm: ['fastest', 'GEMM', null, 1],
    activation: ['softmax', 'clip', null, 5, {}, { kind: 'prelu' }, { kind: 'leakyRelu', slope: 'x' }],
    bias: [5, null, new Float32Array(2)],
    residual: [5, null, 'x'],
    outputPadding: [0],
    countPadding: [true],
  };
  const poolOnly = { ceil: [1, 'yes', null], groups: [1], activation: ['relu'], bias: [undefined] };
  const each = (
    lists: Readonly<Record<string, readonly unknown[]>>,
    run: (options: object, name: string) => Case[],
  ) =>
    Object.entries(lists).flatMap(([name, values]) =>
      values.flatMap((value) => run({ [name]: value }, `${name} ${JSON.stringify(value)}`)),
    );
  const cases = [
    ...each({ ...common, ...convOnly }, (options, name) =>
      both(loose, 'conv2d', name, 'E_ARGUMENT', x, w, options),
    ),
    ...each({ ...common, ...poolOnly, countPadding: [true] }, (options, name) =>
      both(loose, 'maxPool2d', name, 'E_ARGUMENT', x, 2, options),
    ),
    ...each({ ...common, ...poolOnly, countPadding: [1, null] }, (options, name) =>
      both(loose, 'averagePool2d', name, 'E_ARGUMENT', x, 2, options),
    ),
    ...each({ stride: [1], padding: [0], ceil: [true], layout: ['NHWC'] }, (options, name) =>
      both(loose, 'globalPool2d', name, 'E_ARGUMENT', x, 'max', options),
    ),
  ];
  for (const size of [0, -1, 1.5, '2', null, undefined, [2], [2, 0], [1, 2, 3], {}]) {
    cases.push(...both(loose, 'maxPool2d', `size ${JSON.stringify(size)}`, 'E_ARGUMENT', x, size));
  }
  for (const kind of ['mean', undefined, null, 5])
    cases.push(...both(loose, 'globalPool2d', `kind ${String(kind)}`, 'E_ARGUMENT', x, kind));
  for (const options of [null, 5, 'same', true]) {
    cases.push(...both(loose, 'conv2d', `options ${String(options)}`, 'E_ARGUMENT', x, w, options));
    cases.push(...both(loose, 'maxPool2d', `options ${String(options)}`, 'E_ARGUMENT', x, 2, options));
  }
  for (const method of ['conv2dSync', 'maxPool2dSync', 'convTranspose2dSync'] as const) {
    const other = method === 'conv2dSync' ? w : method === 'maxPool2dSync' ? 2 : array([4, 2, 3, 3]);
    cases.push([
      `a signal in ${method}`,
      'E_ARGUMENT',
      () => loose[method](x, other, { signal: new AbortController().signal }),
    ]);
  }
  cases.push(['a signal that is none', 'E_ARGUMENT', () => loose.conv2d(x, w, { signal: {} })]);
  cases.push(['a listener that is none', 'E_ARGUMENT', () => loose.conv2d(x, w, { onProgress: 5 })]);
  await runCases(t, rt, cases);
  await rt.close();
});

test('operands that are none, of other types, disposed, foreign, overlapping', async (t) => {
  const { rt, loose } = await make();
  const { rt: other } = await make();
  using x = rt.zeros(IMAGE);
  using w = rt.zeros(FILTER);
  using square = rt.zeros([4, 4, 3, 3]);
  using bias = rt.zeros([2]);
  const foreign = other.zeros(IMAGE);
  const gone = rt.zeros(IMAGE);
  gone.dispose();
  const [foreignOut, goneOut] = [other.zeros([1, 2, 4, 4]), rt.zeros([1, 2, 4, 4])];
  goneOut.dispose();
  using panels = rt.prepack(rt.tensor([1, 2, 3, 4], [2, 2]));
  const cases: Case[] = [undefined, null, 5, 'x', [1, 2], new Float32Array(4), {}, panels].flatMap(
    (value) => [
      ...both(loose, 'conv2d', `x is ${typeof value}`, 'E_ARGUMENT', value, w),
      ...both(loose, 'conv2d', `w is ${typeof value}`, 'E_ARGUMENT', x, value),
      ...both(loose, 'maxPool2d', `x is ${typeof value}`, 'E_ARGUMENT', value, 2),
      ...both(loose, 'convTranspose2d', `w is ${typeof value}`, 'E_ARGUMENT', x, value),
    ],
  );
  for (const data of [new Float64Array(144), new Int8Array(144), Array(144).fill(0)])
    cases.push(...both(loose, 'conv2d', 'another type', 'E_DTYPE', { data, shape: IMAGE }, w));
  cases.push(
    ...both(loose, 'conv2d', 'a foreign image', 'E_FOREIGN', foreign, w),
    ...both(loose, 'conv2d', 'a foreign filter', 'E_FOREIGN', x, foreign),
    ...both(loose, 'conv2d', 'a foreign bias', 'E_FOREIGN', x, w, { bias: foreign }),
    ...both(loose, 'conv2d', 'a foreign residual', 'E_FOREIGN', x, w, { residual: foreignOut }),
    ...both(loose, 'conv2d', 'a foreign result', 'E_FOREIGN', x, w, { out: foreignOut }),
    ...both(loose, 'maxPool2d', 'a foreign image', 'E_FOREIGN', foreign, 2),
    ...both(loose, 'conv2d', 'a disposed image', 'E_DISPOSED', gone, w),
    ...both(loose, 'conv2d', 'a disposed filter', 'E_DISPOSED', x, gone),
    ...both(loose, 'conv2d', 'a disposed bias', 'E_DISPOSED', x, w, { bias: gone }),
    ...both(loose, 'conv2d', 'a disposed residual', 'E_DISPOSED', x, w, { residual: goneOut }),
    ...both(loose, 'conv2d', 'a disposed result', 'E_DISPOSED', x, w, { out: goneOut }),
    ...both(loose, 'averagePool2d', 'a disposed image', 'E_DISPOSED', gone, 2),
    ...both(loose, 'globalPool2d', 'a disposed image', 'E_DISPOSED', gone, 'max'),
    ...both(loose, 'conv2d', 'the result is the image', 'E_ARGUMENT', x, square, { padding: 1, out: x }),
    ...both(loose, 'conv2d', 'the result is the filter', 'E_ARGUMENT', rt.zeros([4, 4, 3, 3]), square, {
      padding: 1,
      out: square,
    }),
    ...both(loose, 'maxPool2d', 'the result is the image', 'E_ARGUMENT', x, 3, { padding: 1, out: x }),
    ...both(loose, 'convTranspose2d', 'the result is the image', 'E_ARGUMENT', x, square, {
      padding: 1,
      out: x,
    }),
    ...both(loose, 'conv2d', 'the bias of another kind', 'E_SHAPE', x, w, { bias: x }),
  );
  t.ok(!bias.disposed);
  await runCases(t, rt, cases);
  await other.close();
  await rt.close();
});

test('a closed runtime', async (t) => {
  const { rt, loose } = await make();
  await rt.close();
  const [x, w] = [array(IMAGE), array(FILTER)];
  for (const [name, code, run] of [
    ...both(loose, 'conv2d', 'closed', 'E_CLOSED', x, w),
    ...both(loose, 'convTranspose2d', 'closed', 'E_CLOSED', x, array([4, 2, 3, 3])),
    ...both(loose, 'maxPool2d', 'closed', 'E_CLOSED', x, 2),
    ...both(loose, 'averagePool2d', 'closed', 'E_CLOSED', x, 2),
    ...both(loose, 'globalPool2d', 'closed', 'E_CLOSED', x, 'max'),
    ['prepack of weights', 'E_CLOSED', () => rt.prepack(w, { op: 'conv' })],
  ] satisfies Case[])
    t.equal(flaw(await failure(run), code), undefined, name);
});

test('a result for which there is no memory', async (t) => {
  const { rt } = await make({ memory: { initial: 2 ** 20, maximum: 8 * 2 ** 20 } });
  const small = array([1, 1, 700, 700]);
  const w = array([16, 1, 1, 1]);
  const before = rt.memory().used;
  for (const run of [
    () => rt.conv2dSync(small, w),
    () => rt.conv2d(small, w),
    () => rt.maxPool2d(array([1, 4, 700, 700]), 1),
    () => rt.prepack(array([2048, 2048, 1, 1]), { op: 'conv' }),
  ])
    t.equal(flaw(await failure(run), 'E_MEMORY'), undefined, 'E_MEMORY');
  t.equal(rt.memory().used, before, 'nothing is kept');
  using fine = rt.conv2dSync(array(IMAGE), array(FILTER));
  t.deepEqual([...fine.shape], [1, 2, 4, 4], 'the next call works');
  await rt.close();
});

test('problems of explain, prepare and tune', async (t) => {
  const { rt, loose } = await make();
  const good = { op: 'conv', input: IMAGE, weights: FILTER };
  const specs: readonly (readonly [unknown, ErrorCode])[] = [
    [{ op: 'conv' }, 'E_SHAPE'],
    [{ ...good, input: [4, 6, 6] }, 'E_SHAPE'],
    [{ ...good, weights: [2, 3, 3, 3] }, 'E_SHAPE'],
    [{ ...good, input: [0, 4, 6, 6] }, 'E_ARGUMENT'],
    [{ ...good, stride: 0 }, 'E_ARGUMENT'],
    [{ ...good, bias: 'row' }, 'E_ARGUMENT'],
    [{ ...good, residual: 1 }, 'E_ARGUMENT'],
    [{ ...good, algorithm: 'depthwise' }, 'E_ARGUMENT'],
    [{ ...good, shape: [1] }, 'E_ARGUMENT'],
    [{ ...good, op: 'convolution' }, 'E_ARGUMENT'],
  ];
  const cases = specs.flatMap(([spec, code]): Case[] => [
    [`explain ${JSON.stringify(spec)}`, code, () => loose.explain(spec)],
    [`prepare ${JSON.stringify(spec)}`, code, () => loose.prepare([spec])],
    [`tune ${JSON.stringify(spec)}`, code, () => loose.tune([spec], { budgetMs: 1 })],
  ]);
  await runCases(t, rt, cases);
  await rt.close();
});

const ODD: readonly unknown[] = [
  undefined,
  null,
  true,
  0,
  -1,
  2,
  1e308,
  Number.NaN,
  2n,
  '',
  'same',
  Symbol('s'),
  Object.create(null),
  [],
  [2, 2],
  [[2]],
  {},
  { data: 1 },
  { data: new Float32Array(16), shape: [1, 1, 4, 4] },
  { data: new Float32Array(4), shape: [1, 1, 2, 2] },
  { data: new Float64Array(4), shape: [1, 1, 2, 2] },
  { stride: 2n },
  { padding: Symbol('p') },
  { activation: { kind: 'prelu', slope: {} } },
  { signal: {} },
  () => 2,
  new Map(),
  new Float32Array(4),
];

test(seeded('fuzz: whatever is passed, only TesseraeErrors come out'), async (t) => {
  const { rt, loose } = await make();
  const random = new Random(2500);
  const methods = [
    'conv2d',
    'conv2dSync',
    'conv1d',
    'conv1dSync',
    'convTranspose2d',
    'convTranspose2dSync',
    'maxPool2d',
    'averagePool2dSync',
    'globalPool2d',
    'prepack',
  ] as const;
  const foreign: string[] = [];
  let errors = 0;
  for (let turn = 0; turn < 3000; turn++) {
    const method = random.pick(methods);
    const args = Array.from({ length: random.int(0, 3) }, () => random.pick(ODD));
    let result: unknown;
    const error = await failure(async () => {
      result = await loose[method](...args);
    });
    (result as Partial<Disposable> | undefined)?.[Symbol.dispose]?.();
    if (error === undefined) continue;
    errors++;
    if (!(error instanceof TesseraeError) || !(error.code in ERROR_CODES))
      foreign.push(`${method}: ${String(error)}`);
  }
  t.deepEqual(foreign.slice(0, 3), [], `${errors} errors, ${foreign.length} foreign`);
  t.ok(errors > 1000 && errors < 3000, 'some calls went through');
  const { tensors, prepacked, scratch } = rt.memory().byOwner;
  t.equal(tensors + prepacked + scratch, 0, 'nothing is left');
  await rt.close();
});
