/** Tensors: live views through growth of the memory, lifetime, and that none reaches into another. */
import test from 'tape';
import { answerFault, array, oracle } from '../support/oracle.ts';
import { makeRuntime } from '../support/runtime.ts';
import { Random, seeded } from '../support/seed.ts';

const MiB = 1024 * 1024;

test(seeded('tensor: data is a live view, also after the memory grew'), async (t) => {
  const rt = await makeRuntime({ memory: { initial: 1 * MiB, maximum: 256 * MiB } });
  const random = new Random(700);
  const values = random.floats(300);
  const tensor = rt.tensor(values, [10, 30]);
  t.equal(tensor.data, tensor.data, 'the view is kept while it is valid');
  const early = tensor.data;
  const capacity = rt.memory().capacity;
  const big = rt.zeros([4 * MiB]);
  t.ok(rt.memory().capacity > capacity, 'the memory has grown');
  t.equal(tensor.data.length, 300, 'the view is whole');
  t.deepEqual([...tensor.data], [...values], 'and holds what was there');
  tensor.data[7] = 42;
  t.equal(tensor.data[7], 42, 'writes show');
  t.ok(early.length === 300, 'an old view is not detached');
  const out = rt.matmulSync(tensor, tensor, { transposeB: true });
  const now = { data: tensor.data.slice(), shape: [10, 30] };
  t.equal(answerFault(oracle({ a: now, b: now, transposeB: true }), out), undefined, 'and are multiplied');
  const memory = rt.memory().capacity;
  const grown = await rt.matmul(rt.zeros([2000, 10]), rt.zeros([10, 3000]));
  t.ok(
    rt.memory().capacity > memory && grown.data.length === 6_000_000,
    'a result may grow the memory by itself',
  );
  t.ok(grown.data.every((value) => value === 0) && big.data.every((value) => value === 0));
  await rt.close();
  t.end();
});

test(seeded('tensor: shape, size, dtype; source arrays are copied'), async (t) => {
  const rt = await makeRuntime();
  const source = Float32Array.of(1, 2, 3, 4, 5, 6);
  const tensor = rt.tensor(source, [2, 3]);
  source.fill(0);
  t.deepEqual(
    [tensor.dtype, tensor.size, ...tensor.shape, ...tensor.data],
    ['f32', 6, 2, 3, 1, 2, 3, 4, 5, 6],
  );
  t.ok(Object.isFrozen(tensor.shape), 'the shape cannot be changed');
  t.deepEqual([...rt.tensor([1, 2], [2]).data], [1, 2], 'plain arrays are taken');
  t.deepEqual([...rt.tensor([7], []).data], [7], 'a scalar');
  t.equal(rt.zeros([3, 0]).data.length, 0, 'an empty tensor');
  const used = rt.tensor(Float32Array.of(Number.NaN, 1), [2]);
  used.dispose();
  t.deepEqual([...rt.zeros([2]).data], [0, 0], 'zeros are zeros in used memory');
  await rt.close();
  t.end();
});

test(seeded('tensor: none reaches into another'), async (t) => {
  const rt = await makeRuntime();
  const random = new Random(701);
  const sizes = Array.from({ length: 60 }, () => random.int(0, 400));
  const tensors = sizes.map((size, index) => rt.tensor(new Float32Array(size).fill(index + 1), [size]));
  tensors.forEach((tensor, index) => {
    if (index % 2) tensor.data.fill(-1);
  });
  const intact = tensors.every((tensor, index) =>
    tensor.data.every((value) => value === (index % 2 ? -1 : index + 1)),
  );
  t.ok(intact, 'filling every other tensor leaves the rest as they were');
  t.ok(
    tensors.every(
      (tensor, index) => tensor.data.length === sizes[index] && tensor.data.byteOffset % 64 === 0,
    ),
    'exact length, aligned',
  );
  const rows = rt.zeros([31, 17]);
  const neighbours = [
    rt.tensor(new Float32Array(50).fill(5), [50]),
    rt.tensor(new Float32Array(50).fill(6), [50]),
  ];
  for (const [m, n] of [[31, 17]])
    rt.matmulSync(array(random, [m!, 9]), array(random, [9, n!]), { out: rows });
  t.ok(
    neighbours.every((tensor, i) => tensor.data.every((value) => value === 5 + i)),
    'a product with odd extents writes its own elements only',
  );
  await rt.close();
  t.end();
});

test(seeded('tensor: dispose, using, and memory that comes back'), async (t) => {
  const rt = await makeRuntime();
  const before = rt.memory();
  {
    using a = rt.tensor([1, 2, 3, 4], [2, 2]);
    using product = await rt.matmul(a, a);
    t.deepEqual([...product.data], [7, 10, 15, 22]);
    t.equal(rt.memory().tensors, before.tensors + 2);
  }
  t.equal(rt.memory().tensors, before.tensors, 'using gives both back');
  t.equal(rt.memory().byOwner.tensors, before.byOwner.tensors);
  const tensor = rt.tensor([1, 2, 3, 4], [2, 2]);
  t.notOk(tensor.disposed);
  tensor.dispose();
  tensor.dispose();
  t.ok(tensor.disposed, 'twice is harmless');
  t.throws(() => tensor.data, /E_DISPOSED/);
  t.throws(() => rt.matmulSync(tensor, tensor), /E_DISPOSED/);
  const capacity = rt.memory().capacity;
  for (let turn = 0; turn < 200; turn++) {
    using big = rt.zeros([512, 512]);
    using result = rt.matmulSync(big, { data: new Float32Array(512), shape: [512, 1] });
    if (result.data[0] !== 0) t.fail('not zero');
  }
  t.ok(rt.memory().capacity <= capacity + 8 * MiB, 'two hundred megabytes in turns need no more than a few');
  const left = rt.zeros([2]);
  await rt.close();
  t.throws(() => left.data, /E_CLOSED/, 'a closed runtime has no data');
  t.end();
});

test(seeded('tensor: operands that are disposed during a call live until it is done'), async (t) => {
  const rt = await makeRuntime({ threads: 1 });
  const n = 600;
  const ones = new Float32Array(n * n).fill(1);
  const [x, y] = [rt.tensor(ones, [n, n]), rt.tensor(ones, [n, n])];
  const packed = rt.prepack(y);
  // long enough to be given to the team, so the calls are under way when their operands go
  const running = [rt.matmul(x, y), rt.matmul(x, packed)];
  const before = rt.memory().byOwner.tensors;
  x.dispose();
  y.dispose();
  packed.dispose();
  t.equal(rt.memory().byOwner.tensors, before, 'nothing is freed yet');
  const scribble = Array.from({ length: 4 }, () =>
    rt.tensor(
      ones.map(() => Number.NaN),
      [n, n],
    ),
  );
  for (const result of await Promise.all(running)) {
    t.ok(
      result.data.every((value) => value === n),
      'the result is right',
    );
    result.dispose();
  }
  for (const tensor of scribble) tensor.dispose();
  t.deepEqual(
    [rt.memory().byOwner.tensors, rt.memory().byOwner.prepacked],
    [0, 0],
    'all is freed in the end',
  );
  await rt.close();
  t.end();
});
