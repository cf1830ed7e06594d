/**
 * Bad input to every public method: a typed error with a documented code, the values and a hint, before any work. Nothing is
 * allocated, and no value of any type makes anything else come out.
 */
import test from 'tape';
import { createRuntime, ERROR_CODES, type ErrorCode, TesseraeError } from '../../src/index.ts';
import { createRuntimeWith } from '../../src/ops/runtime.ts';
import type { Runtime, RuntimeOptions } from '../../src/ops/types.ts';
import { failure, SLOW_MACHINE } from '../support/faulty.ts';
import { Random, seeded } from '../support/seed.ts';

/** What no compiler would let pass: callers in plain JavaScript have no compiler. */
type Loose = { readonly [name in keyof Runtime]: (...args: unknown[]) => unknown };

async function make(options: RuntimeOptions = {}): Promise<{ rt: Runtime; loose: Loose }> {
  const rt = await createRuntimeWith(
    { threads: 2, wisdom: false, memory: { maximum: 64 * 2 ** 20 }, ...options },
    { machine: SLOW_MACHINE },
  );
  return { rt, loose: rt as unknown as Loose };
}

/** Why an error is not what is promised, or undefined. */
function flaw(error: unknown, code: ErrorCode | undefined): string | undefined {
  if (error === undefined) return 'nothing was thrown';
  if (!(error instanceof TesseraeError)) return `foreign: ${String(error)}`;
  if (!(error.code in ERROR_CODES)) return `undocumented code ${error.code}`;
  if (code !== undefined && error.code !== code) return `${error.code} instead of ${code}: ${error.message}`;
  if (typeof error.hint !== 'string' || error.hint.length < 5) return `no hint: ${error.message}`;
  if (code !== 'E_CLOSED' && Object.keys(error.values).length === 0) return `no values: ${error.message}`;
  if (!error.message.includes(error.code) || !error.message.includes(error.hint))
    return `message: ${error.message}`;
  return undefined;
}

type Case = readonly [name: string, code: ErrorCode, run: () => unknown];

async function runCases(t: test.Test, rt: Runtime, cases: readonly Case[]): Promise<void> {
  const before = rt.memory();
  for (const [name, code, run] of cases)
    t.equal(flaw(await failure(run), code), undefined, `${name}: ${code}`);
  t.deepEqual(rt.memory(), before, 'nothing is allocated');
}

const array = (shape: readonly number[]) => ({
  data: new Float32Array(shape.reduce((size, extent) => size * extent, 1)),
  shape,
});

test('shapes', async (t) => {
  const { rt, loose } = await make();
  const extents = [Number.NaN, Number.POSITIVE_INFINITY, -1, 1.5, 2 ** 53, '3', null, undefined, 3n, {}, [2]];
  const cases: Case[] = extents.flatMap((extent): Case[] => [
    [`zeros of ${String(extent)}`, 'E_SHAPE', () => loose.zeros([2, extent])],
    [`tensor of ${String(extent)}`, 'E_SHAPE', () => loose.tensor([1, 2], [extent])],
    [
      `operand of ${String(extent)}`,
      'E_SHAPE',
      () => loose.matmulSync({ data: new Float32Array(4), shape: [2, extent] }, array([2, 2])),
    ],
  ]);
  for (const shape of [undefined, null, 5, '2x2', {}, new Set([2])]) {
    cases.push([`zeros(${String(shape)})`, 'E_SHAPE', () => loose.zeros(shape)]);
  }
  cases.push(
    ['more elements than a memory holds', 'E_SHAPE', () => rt.zeros([2 ** 16, 2 ** 16])],
    ['data longer than its shape', 'E_SHAPE', () => rt.tensor([1, 2, 3], [2])],
    ['data shorter than its shape', 'E_SHAPE', () => rt.tensor(new Float32Array(3), [2, 2])],
    [
      'operand longer than its shape',
      'E_SHAPE',
      () => rt.matmulSync({ ...array([4]), shape: [2, 3] }, array([3, 1])),
    ],
    ['inner extents', 'E_SHAPE', () => rt.matmulSync(array([2, 3]), array([2, 3]))],
    [
      'inner extents, transposed',
      'E_SHAPE',
      () => rt.matmul(array([2, 3]), array([3, 2]), { transposeA: true }),
    ],
    ['rank 1', 'E_SHAPE', () => rt.matmul(array([3]), array([3, 2]))],
    ['rank 0', 'E_SHAPE', () => rt.matmul(array([3, 1]), array([]))],
    ['leading extents', 'E_SHAPE', () => rt.matmul(array([2, 2, 2]), array([3, 2, 2]))],
    ['bias', 'E_SHAPE', () => rt.matmul(array([2, 3]), array([3, 4]), { bias: array([3]) })],
    ['bias of rank 3', 'E_SHAPE', () => rt.matmul(array([2, 3]), array([3, 4]), { bias: array([1, 1, 4]) })],
    ['prepack of a batch', 'E_SHAPE', () => rt.prepack(array([2, 2, 2]))],
    ['prepack of a vector', 'E_SHAPE', () => rt.prepack(array([2]))],
  );
  using out = rt.zeros([2, 5]);
  cases.push(['out', 'E_SHAPE', () => rt.matmul(array([2, 3]), array([3, 4]), { out })]);
  await runCases(t, rt, cases);
  await rt.close();
});

test('element types', async (t) => {
  const { rt, loose } = await make();
  const others = [
    new Float64Array(4),
    new Int32Array(4),
    new Uint8Array(4),
    new BigInt64Array(4),
    new ArrayBuffer(16),
  ];
  const cases = [...others, 'text', 5, null, undefined, { length: 4 }].flatMap((data): Case[] => [
    // integers make tensors of their own types
    ...(data instanceof Int32Array || data instanceof Uint8Array
      ? []
      : [
          [
            `tensor of ${Object.prototype.toString.call(data)}`,
            'E_DTYPE',
            () => loose.tensor(data, [2, 2]),
          ] as Case,
        ]),
    [
      `operand of ${Object.prototype.toString.call(data)}`,
      'E_DTYPE',
      () => loose.matmul({ data, shape: [2, 2] }, array([2, 2])),
    ],
  ]);
  for (const value of ['1', 1n, null, undefined, {}]) {
    cases.push([`an array with ${String(value)}`, 'E_DTYPE', () => loose.tensor([1, value], [2])]);
  }
  cases.push([
    'plain numbers as an operand',
    'E_DTYPE',
    () => loose.matmul({ data: [1], shape: [1, 1] }, array([1, 1])),
  ]);
  await runCases(t, rt, cases);
  await rt.close();
});

test('operands that are none', async (t) => {
  const { rt, loose } = await make();
  const { rt: other } = await make();
  using a = rt.zeros([2, 2]);
  using packed = rt.prepack(a);
  const foreign = other.zeros([2, 2]);
  const foreignPanels = other.prepack(foreign);
  const gone = rt.zeros([2, 2]);
  gone.dispose();
  const gonePanels = rt.prepack(a);
  gonePanels.dispose();
  const cases: Case[] = [undefined, null, 5, 'a', [1, 2], new Float32Array(4), {}, Symbol('a')].flatMap(
    (value): Case[] => [
      [`a is ${String(value)}`, 'E_ARGUMENT', () => loose.matmul(value, a)],
      [`b is ${String(value)}`, 'E_ARGUMENT', () => loose.matmulSync(a, value)],
      [`prepack(${String(value)})`, 'E_ARGUMENT', () => loose.prepack(value)],
    ],
  );
  cases.push(
    ['panels on the left', 'E_ARGUMENT', () => loose.matmul(packed, a)],
    ['panels as bias', 'E_ARGUMENT', () => loose.matmul(a, a, { bias: packed })],
    ['panels packed again', 'E_ARGUMENT', () => loose.prepack(packed)],
    ['foreign a', 'E_FOREIGN', () => rt.matmul(foreign, a)],
    ['foreign b', 'E_FOREIGN', () => rt.matmulSync(a, foreign)],
    ['foreign panels', 'E_FOREIGN', () => rt.matmul(a, foreignPanels)],
    ['foreign bias', 'E_FOREIGN', () => rt.matmul(a, a, { bias: foreign })],
    ['foreign out', 'E_FOREIGN', () => rt.matmul(a, a, { out: foreign })],
    ['foreign tensor to prepack', 'E_FOREIGN', () => rt.prepack(foreign)],
    ['disposed a', 'E_DISPOSED', () => rt.matmul(gone, a)],
    ['disposed b', 'E_DISPOSED', () => rt.matmulSync(a, gone)],
    ['disposed panels', 'E_DISPOSED', () => rt.matmul(a, gonePanels)],
    ['disposed bias', 'E_DISPOSED', () => rt.matmul(a, a, { bias: gone })],
    ['disposed out', 'E_DISPOSED', () => rt.matmul(a, a, { out: gone })],
    ['disposed tensor to prepack', 'E_DISPOSED', () => rt.prepack(gone)],
    ['data of a disposed tensor', 'E_DISPOSED', () => gone.data],
  );
  await runCases(t, rt, cases);
  await other.close();
  const closed = await failure(rt.matmul(a, foreign));
  t.ok(
    closed instanceof TesseraeError && ['E_FOREIGN', 'E_CLOSED'].includes(closed.code),
    'a tensor of a closed runtime',
  );
  await rt.close();
});

test('options of matmul and prepack', async (t) => {
  const { rt, loose } = await make();
  using a = rt.zeros([2, 2]);
  using packed = rt.prepack(a);
  const bad: Readonly<Record<string, readonly unknown[]>> = {
    transposeA: [1, 'yes', null],
    transposeB: [0, {}, []],
    alpha: [Number.NaN, Number.POSITIVE_INFINITY, '2', null, 2n],
    beta: [Number.NaN, '0', {}],
    bias: [5, 'row', new Float32Array(2), null],
    activation: [
      'softmax',
      'clip',
      5,
      null,
      {},
      { kind: 'relu' },
      { kind: 'clip', min: 1 },
      { kind: 'clip', min: 2, max: 1 },
      { kind: 'clip', min: Number.NaN, max: 1 },
    ],
    out: [5, {}, array([2, 2]), packed, null],
    transposeb: [true],
    Bias: [undefined],
  };
  const cases = Object.entries(bad).flatMap(([name, values]) =>
    values.flatMap((value): Case[] => [
      [`matmul ${name} ${String(value)}`, 'E_ARGUMENT', () => loose.matmul(a, a, { [name]: value })],
      [`matmulSync ${name} ${String(value)}`, 'E_ARGUMENT', () => loose.matmulSync(a, a, { [name]: value })],
    ]),
  );
  for (const options of [null, 5, 'fast', true]) {
    cases.push([`matmul(${String(options)})`, 'E_ARGUMENT', () => loose.matmul(a, a, options)]);
    cases.push([`matmulSync(${String(options)})`, 'E_ARGUMENT', () => loose.matmulSync(a, a, options)]);
    cases.push([`prepack(${String(options)})`, 'E_ARGUMENT', () => loose.prepack(a, options)]);
  }
  for (const signal of [5, 'now', {}, null, { aborted: false }]) {
    cases.push([`signal ${String(signal)}`, 'E_ARGUMENT', () => loose.matmul(a, a, { signal })]);
  }
  for (const onProgress of [5, {}, null]) {
    cases.push([`onProgress ${String(onProgress)}`, 'E_ARGUMENT', () => loose.matmul(a, a, { onProgress })]);
  }
  for (const m of [-1, 1.5, Number.NaN, '3', null]) {
    cases.push([`prepack m ${String(m)}`, 'E_ARGUMENT', () => loose.prepack(a, { m })]);
  }
  cases.push(
    ['beta without out', 'E_ARGUMENT', () => rt.matmul(a, a, { beta: 1 })],
    ['out is a', 'E_ARGUMENT', () => rt.matmul(a, array([2, 2]), { out: a })],
    ['out is b', 'E_ARGUMENT', () => rt.matmulSync(array([2, 2]), a, { out: a })],
    ['transposeB of panels', 'E_ARGUMENT', () => rt.matmul(a, packed, { transposeB: true })],
    [
      'a signal in a sync call',
      'E_ARGUMENT',
      () => loose.matmulSync(a, a, { signal: new AbortController().signal }),
    ],
    ['prepack transposeB', 'E_ARGUMENT', () => loose.prepack(a, { transposeB: 'yes' })],
    ['prepack unknown', 'E_ARGUMENT', () => loose.prepack(a, { transpose: true })],
  );
  await runCases(t, rt, cases);
  using square = rt.zeros([1, 2]);
  t.equal(
    flaw(await failure(rt.matmul(array([1, 2]), a, { out: square, bias: square })), 'E_ARGUMENT'),
    undefined,
    'out is bias',
  );
  await rt.close();
});

test('problems, budgets, wisdom', async (t) => {
  const { rt, loose } = await make();
  const specs = [
    undefined,
    null,
    5,
    '',
    'x',
    '4',
    '4x4',
    '4x4x4x4x4',
    '4x-4x4',
    '4xNaNx4',
    '1.5x2x2',
    '0x4x4',
    '4x4xfour',
    {},
    [4, 4, 4],
    { m: 4, k: 4 },
    { m: 4, k: 4, n: 0 },
    { m: '4', k: 4, n: 4 },
    { m: 4, k: 4, n: Number.POSITIVE_INFINITY },
    { m: 4, k: 4, n: 4, transposeA: 'yes' },
    { m: 4, k: 4, n: 4, bias: 'diagonal' },
    { m: 4, k: 4, n: 4, activation: 'softmax' },
    { m: 4, k: 4, n: 4, prepacked: 1 },
    { m: 4, k: 4, n: 4, batch: -1 },
    { m: 4, k: 4, n: 4, transposeb: true },
  ];
  const cases = specs.flatMap((spec): Case[] => [
    [`explain ${JSON.stringify(spec)}`, 'E_ARGUMENT', () => loose.explain(spec)],
    [`prepare ${JSON.stringify(spec)}`, 'E_ARGUMENT', () => loose.prepare([spec])],
    [`tune ${JSON.stringify(spec)}`, 'E_ARGUMENT', () => loose.tune([spec], { budgetMs: 1 })],
  ]);
  cases.push(['a problem larger than memory', 'E_SHAPE', () => rt.explain('100000x100000x100000')]);
  for (const problems of [undefined, null, '4x4x4', {}]) {
    cases.push([`prepare(${String(problems)})`, 'E_ARGUMENT', () => loose.prepare(problems)]);
    cases.push([`tune(${String(problems)})`, 'E_ARGUMENT', () => loose.tune(problems)]);
  }
  for (const budgetMs of [0, -1, Number.NaN, '5', null]) {
    cases.push([`budgetMs ${String(budgetMs)}`, 'E_ARGUMENT', () => loose.tune(['4x4x4'], { budgetMs })]);
  }
  for (const options of [
    null,
    5,
    { effort: 'estimate' },
    { effort: 'most' },
    { signal: 5 },
    { onprogress: () => 0 },
  ]) {
    cases.push([`tune with ${JSON.stringify(options)}`, 'E_ARGUMENT', () => loose.tune(['4x4x4'], options)]);
  }
  for (const options of [null, 5, { signal: 5 }, { budgetMs: 5 }]) {
    cases.push([`prepare with ${JSON.stringify(options)}`, 'E_ARGUMENT', () => loose.prepare([], options)]);
    cases.push([
      `measureMachine with ${JSON.stringify(options)}`,
      'E_ARGUMENT',
      () => loose.measureMachine(options),
    ]);
  }
  const wisdom = rt.wisdom as unknown as { import(text: unknown): number };
  for (const text of [5, null, undefined, {}])
    cases.push([`import ${String(text)}`, 'E_ARGUMENT', () => wisdom.import(text)]);
  for (const text of ['', 'x', '{}\n', '{"format":"tesserae-wisdom"}\n']) {
    cases.push([`import ${JSON.stringify(text)}`, 'E_WISDOM', () => wisdom.import(text)]);
  }
  await runCases(t, rt, cases);
  await rt.close();
});

test('options of createRuntime', async (t) => {
  const create = createRuntime as unknown as (options: unknown) => Promise<Runtime>;
  const circle: Record<string, unknown> = {};
  circle.circle = circle;
  const bad: Readonly<Record<string, readonly unknown[]>> = {
    threads: [0, -1, 1.5, 64, Number.NaN, '2', null, 2n],
    numerics: ['exakt', 1, null],
    policy: ['lenient', {}],
    effort: ['none', 5],
    wisdom: ['', 5, true, {}, { read: 1, write: 2 }, circle],
    memory: [
      5,
      null,
      'much',
      { maximum: 0 },
      { maximum: 5e9 },
      { initial: -1 },
      { initial: '1' },
      { maximum: 2 ** 21, initial: 2 ** 22 },
    ],
    engineFlags: ['on', true],
    workerTimeoutMs: [0, -5, '9', Number.POSITIVE_INFINITY],
    onEvent: [5, {}, 'log', null],
    thread: [2],
  };
  for (const [name, values] of Object.entries(bad)) {
    for (const value of values) {
      const error = await failure(create({ [name]: value }));
      t.equal(
        flaw(error, 'E_ARGUMENT'),
        undefined,
        `${name}: ${typeof value} ${Object.prototype.toString.call(value)}`,
      );
    }
  }
  for (const options of [null, 5, 'fast']) {
    t.equal(
      flaw(await failure(create(options)), 'E_ARGUMENT'),
      undefined,
      `createRuntime(${String(options)})`,
    );
  }
});

/** Values that make careless code throw something of its own. */
function oddities(rt: Runtime): readonly unknown[] {
  const circle: unknown[] = [];
  circle.push(circle);
  const unspeakable = {
    toString() {
      throw new Error('toString');
    },
    toJSON() {
      throw new Error('toJSON');
    },
  };
  return [
    undefined,
    null,
    true,
    0,
    -0,
    1,
    -1,
    2,
    1e308,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    2n,
    '',
    '2',
    '2x2x2',
    Symbol('s'),
    Object.create(null),
    unspeakable,
    circle,
    [],
    [2, 2],
    [2, 2, 2],
    [[2]],
    [unspeakable],
    {},
    { data: 1 },
    { shape: 1 },
    { data: new Float32Array(4), shape: [2, 2] },
    { data: new Float32Array(4), shape: [2, Number.NaN] },
    { data: new Float64Array(4), shape: [2, 2] },
    { m: 2, k: 2, n: 2 },
    { m: unspeakable },
    { transposeA: unspeakable },
    { activation: circle },
    { signal: unspeakable },
    { out: 5 },
    { bias: 5 },
    { alpha: 2n },
    () => 2,
    new Map(),
    new Date(Number.NaN),
    new Float32Array(4),
    new ArrayBuffer(8),
    new SharedArrayBuffer(8),
    new Proxy({}, {}),
    rt,
    rt.zeros([2, 2]),
  ];
}

test(seeded('fuzz: whatever is passed, only TesseraeErrors come out'), async (t) => {
  const { rt, loose } = await make();
  const values = oddities(rt);
  const random = new Random(11);
  const methods = ['tensor', 'zeros', 'matmul', 'matmulSync', 'prepack', 'explain', 'prepare'] as const;
  const foreign: string[] = [];
  let errors = 0;
  for (let turn = 0; turn < 6000; turn++) {
    const method = random.pick(methods);
    const args = Array.from({ length: random.int(0, 4) }, () => random.pick(values));
    const error = await failure(async () => {
      const made = await loose[method](...args);
      const dispose = (made as { dispose?: () => void } | undefined)?.dispose;
      if (dispose) dispose.call(made);
    });
    if (error === undefined) continue;
    errors++;
    const fault = flaw(error, undefined);
    if (fault)
      foreign.push(
        `${method} with ${args.map((arg) => Object.prototype.toString.call(arg)).join(', ')}: ${fault}`,
      );
  }
  t.deepEqual(foreign.slice(0, 5), [], `${errors} errors, all of the family`);
  t.equal(rt.memory().tensors, 1, 'no tensor is left over');
  t.equal(rt.memory().byOwner.scratch, 0, 'and no scratch');
  await rt.close();
});
