/** Products in bands: the rows of the whole product, each once, in order; whoever stops leaves nothing behind. */
import test from 'tape';
import type { Band, BandOptions, Runtime, TensorLike } from '../../src/index.ts';
import { codeOf, failure, sleep } from '../support/faulty.ts';
import { makeRuntime } from '../support/runtime.ts';
import { Random, seeded } from '../support/seed.ts';

const random = new Random(640);
const array = (...shape: number[]): TensorLike => ({
  data: random.floats(shape.reduce((x, y) => x * y, 1)),
  shape,
});

/** The bands put together, or what is wrong with their order. */
async function joined(
  rt: Runtime,
  a: TensorLike,
  b: Parameters<Runtime['matmul']>[1],
  options: BandOptions,
): Promise<{ data: number[]; bands: Band[]; fault: string | undefined }> {
  const bands: Band[] = [];
  let fault: string | undefined;
  for await (const band of rt.matmul.tiles(a, b, options)) {
    const before = bands.at(-1);
    const follows =
      before === undefined
        ? band.member === 0 && band.row === 0
        : (band.member === before.member && band.row === before.row + before.rows) ||
          (band.member === before.member + 1 && band.row === 0);
    if (!follows) fault ??= `band ${bands.length} is ${band.member}, ${band.row}`;
    if (band.data.length !== band.rows * band.columns)
      fault ??= `band ${bands.length} has ${band.data.length}`;
    bands.push(band);
  }
  return { data: bands.flatMap(({ data }) => [...data]), bands, fault };
}

const CASES: readonly [string, TensorLike, TensorLike, BandOptions][] = [
  ['a matrix', array(101, 37), array(37, 53), { rows: 10 }],
  ['heights left to us', array(301, 37), array(37, 53), {}],
  ['one row at a time, none ahead', array(7, 5), array(5, 3), { rows: 1, ahead: 0 }],
  ['many ahead', array(40, 5), array(5, 3), { rows: 3, ahead: 5 }],
  ['higher than the result', array(7, 5), array(5, 3), { rows: 100 }],
  ['b transposed', array(33, 17), array(29, 17), { transposeB: true, rows: 8 }],
  [
    'bias of columns, activation',
    array(33, 17),
    array(17, 29),
    { bias: array(29), activation: 'relu', rows: 8 },
  ],
  ['bias of rows, scaled', array(33, 17), array(17, 29), { bias: array(33, 1), alpha: -0.5, rows: 8 }],
  ['a batch, one b', array(3, 20, 9), array(9, 11), { rows: 7 }],
  ['a batch of both', array(2, 3, 20, 9), array(2, 3, 9, 11), { rows: 7 }],
  ['bias of rows of a batch', array(3, 20, 9), array(3, 9, 11), { bias: array(20, 1), rows: 7 }],
  ['nothing', array(0, 9), array(9, 11), {}],
  ['no columns', array(4, 9), array(9, 0), {}],
  ['no terms', array(4, 0), array(0, 3), { bias: array(3), rows: 3 }],
];

for (const numerics of ['exact', 'fast'] as const)
  test(seeded(`bands (${numerics}) are the product`), async (t) => {
    const rt = await makeRuntime({ numerics });
    const { tensors } = rt.memory();
    for (const [name, a, b, options] of CASES) {
      const { rows: _rows, ahead: _ahead, ...plain } = options;
      const whole = await rt.matmul(a, b, plain);
      const { data, fault } = await joined(rt, a, b, options);
      t.equal(fault, undefined, name);
      if (numerics === 'exact') t.deepEqual(data, [...whole.data], `${name}: the same bytes`);
      else {
        const off = Math.max(0, ...data.map((value, i) => Math.abs(value - whole.data[i]!)));
        t.ok(data.length === whole.size && off < 1e-4, `${name}: off by ${off}`);
      }
      whole.dispose();
    }
    t.equal(rt.memory().tensors, tensors, 'no tensor is left');
    const { byOwner } = rt.memory();
    t.deepEqual([byOwner.tensors, byOwner.prepacked, byOwner.scratch], [0, 0, 0], 'nor memory');
    await rt.close();
  });

test('bands: tensors are held until the loop ends', async (t) => {
  const rt = await makeRuntime({ numerics: 'exact' });
  const [x, y] = [array(60, 20), array(20, 30)];
  const whole = await rt.matmul(x, y);
  const [left, right] = [rt.tensor(x.data, x.shape), rt.tensor(y.data, y.shape)];
  const data: number[] = [];
  for await (const band of rt.matmul.tiles(left, right, { rows: 10 })) {
    left.dispose();
    right.dispose();
    data.push(...band.data);
  }
  t.deepEqual(data, [...whole.data], 'disposed of in the first turn, and still right');
  const panels = rt.prepack(y);
  t.deepEqual((await joined(rt, x, panels, { rows: 10 })).data, [...whole.data], 'panels');
  const disposing = async () => {
    for await (const _ of rt.matmul.tiles(x, panels, { rows: 10, ahead: 0 })) panels.dispose();
  };
  t.equal(await codeOf(disposing), 'E_DISPOSED', 'panels must live as long as the loop');
  whole.dispose();
  t.equal(rt.memory().tensors, 0);
  t.equal(rt.memory().byOwner.prepacked, 0);
  await rt.close();
});

test('bands: whoever stops, aborts or fails leaves nothing behind', async (t) => {
  const rt = await makeRuntime();
  const [a, b] = [rt.tensor(array(400, 200).data, [400, 200]), array(200, 300)];
  const round = async () => {
    for await (const { row } of rt.matmul.tiles(a, b, { rows: 20, ahead: 3 })) if (row >= 40) break;
    const thrown = new Error('mine');
    const loop = async () => {
      for await (const _ of rt.matmul.tiles(a, b, { rows: 20 })) throw thrown;
    };
    t.equal(await failure(loop), thrown, 'an error of the loop is the loop’s');
    const control = new AbortController();
    const seen: number[] = [];
    const aborted = async () => {
      for await (const { row } of rt.matmul.tiles(a, b, { rows: 20, signal: control.signal })) {
        seen.push(row);
        if (row === 40) control.abort(new Error('enough'));
      }
    };
    t.match(String(await failure(aborted)), /enough/, 'an abort ends it');
    t.ok(seen.length < 10, `after ${seen.length} bands`);
  };
  await round();
  const before = rt.memory();
  await round();
  await sleep(5);
  const after = rt.memory();
  t.equal(after.used, before.used, 'bytes');
  t.equal(after.tensors, before.tensors, 'tensors');
  const progress: number[] = [];
  for await (const _ of rt.matmul.tiles(a, b, { rows: 150, onProgress: ({ done }) => progress.push(done) }));
  t.deepEqual(progress, [150, 300, 400], 'progress in rows');
  const closing = async () => {
    for await (const _ of rt.matmul.tiles(a, b, { rows: 20 })) void rt.close();
  };
  t.equal(await codeOf(closing), 'E_CLOSED', 'a runtime that is closed meanwhile');
  t.equal(await codeOf(() => rt.matmul.tiles(a, b)), 'E_CLOSED');
});

test('bands: what is refused, before anything is computed', async (t) => {
  const rt = await makeRuntime();
  const [a, b] = [array(4, 3), array(3, 5)];
  const wrongs: readonly [TensorLike, TensorLike, object, string][] = [
    [a, a, {}, 'E_SHAPE'],
    [a, b, { rows: 0 }, 'E_ARGUMENT'],
    [a, b, { rows: 1.5 }, 'E_ARGUMENT'],
    [a, b, { ahead: -1 }, 'E_ARGUMENT'],
    [a, b, { bias: array(4) }, 'E_SHAPE'],
    [a, b, { activation: 'no' }, 'E_ARGUMENT'],
    [a, b, { out: rt.zeros([4, 5]) }, 'E_ARGUMENT'],
    [a, b, { priority: 'soon' }, 'E_ARGUMENT'],
    [array(2, 1, 4, 3), array(1, 2, 3, 5), {}, 'E_ARGUMENT'],
    [a, array(2, 3, 5), {}, 'E_ARGUMENT'],
  ];
  for (const [x, y, options, code] of wrongs)
    t.equal(await codeOf(() => rt.matmul.tiles(x, y, options)), code, JSON.stringify(options));
  await rt.close();
});
