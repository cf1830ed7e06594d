/** Moves of a tape that are made one: the same bytes, less to do, and memory in which nothing is overwritten too early. */
import test from 'tape';
import { sizeOf } from '../../../src/core/shape.ts';
import { denseStrides } from '../../../src/core/strided.ts';
import { composeMoves } from '../../../src/ops/array/compose.ts';
import { movePart } from '../../../src/ops/array/move.ts';
import { planArray } from '../../../src/ops/array/request.ts';
import type { Core } from '../../../src/ops/core.ts';
import { coreOf } from '../../../src/ops/runtime.ts';
import type { Tape } from '../../../src/ops/tape.ts';
import { DenseTensor } from '../../../src/ops/tensor.ts';
import { makeRuntime } from '../../support/runtime.ts';
import { Random, SEED, seeded } from '../../support/seed.ts';

function compose(core: Core, tape: Tape, wanted: readonly DenseTensor[]): void {
  const addresses = wanted.map(({ block }) => block.address);
  core.record(tape, () => composeMoves(tape, addresses, (problem) => planArray(core, problem)));
}

interface Reading {
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  readonly first?: number;
}

/** A new tensor of what is read in `x` by strides. */
function read(core: Core, x: DenseTensor, { shape, strides, first = 0 }: Reading): DenseTensor {
  const out = new DenseTensor(core.heap, shape);
  movePart(core, x, out, {
    extents: shape,
    from: strides,
    to: denseStrides(shape),
    firstFrom: first,
    firstTo: 0,
  });
  return out;
}

/** One behind the other along the second extent. */
function joined(core: Core, parts: readonly DenseTensor[]): DenseTensor {
  const [rows, , ...rest] = parts[0]!.shape as [number, number, ...number[]];
  const shape = [rows, parts.reduce((sum, part) => sum + part.shape[1]!, 0), ...rest];
  const out = new DenseTensor(core.heap, shape);
  const to = denseStrides(shape);
  let at = 0;
  for (const part of parts) {
    const from = denseStrides(part.shape);
    movePart(core, part, out, { extents: part.shape, from, to, firstFrom: 0, firstTo: at * to[1]! });
    at += part.shape[1]!;
  }
  return out;
}

function keysOf(tape: Tape): string[] {
  return tape.steps.map(({ execution }) => execution.key);
}

test('composed moves: channels that are joined, shuffled and taken apart are four parts of two images', async (t) => {
  const rt = await makeRuntime({ threads: 1 });
  const core = coreOf(rt);
  const [a, b] = [0, 100].map(
    (first) =>
      rt.tensor(
        Float32Array.from({ length: 24 }, (_, i) => first + i),
        [1, 4, 6],
      ) as DenseTensor,
  ) as [DenseTensor, DenseTensor];
  const tape = core.makeTape();
  const halves = core.record(tape, () => {
    const [x, y] = [a, b].map((one) => rt.unarySync('neg', one) as DenseTensor) as [DenseTensor, DenseTensor];
    const both = joined(core, [x, y]);
    for (const one of [x, y]) one.dispose();
    const shuffled = read(core, both, { shape: [2, 4, 6], strides: [6, 12, 1] });
    both.dispose();
    // in the memory of what was joined
    const taken = [0, 1].map((half) =>
      read(core, shuffled, { shape: [4, 6], strides: [6, 1], first: half * 24 }),
    );
    shuffled.dispose();
    const made = taken.map((one) => rt.unarySync('abs', one) as DenseTensor);
    for (const one of taken) one.dispose();
    return made;
  });
  const wanted = [0, 1].map((odd) =>
    [0, 100].flatMap((first) =>
      [odd, odd + 2].flatMap((row) => [0, 1, 2, 3, 4, 5].map((i) => first + 6 * row + i)),
    ),
  );
  t.equal(keysOf(tape).filter((key) => key.startsWith('move')).length, 5);
  compose(core, tape, halves);
  t.deepEqual(
    keysOf(tape).filter((key) => key.startsWith('move')),
    Array(4).fill('move f32 2x6 12:1 6:1'),
  );
  for (let turn = 0; turn < 2; turn++) {
    for (const half of halves) half.data.fill(Number.NaN);
    await tape.replay({});
    t.deepEqual(
      halves.map(({ data }) => [...data]),
      wanted,
      `replay ${turn}`,
    );
  }
  core.forget(tape);
  await rt.close();
});

test('composed moves: what somebody else reads, or wants, stays', async (t) => {
  const rt = await makeRuntime({ threads: 1 });
  const core = coreOf(rt);
  const x = rt.tensor([1, 2, 3, 4, 5, 6], [2, 3]) as DenseTensor;
  for (const who of ['a function', 'the caller'] as const) {
    const tape = core.makeTape();
    const made = core.record(tape, () => {
      const turned = rt.transposeSync(x) as DenseTensor;
      const part = read(core, turned, { shape: [1, 2], strides: [2, 1], first: 2 });
      return [part, who === 'a function' ? (rt.unarySync('neg', turned) as DenseTensor) : turned];
    });
    const before = keysOf(tape).join();
    compose(core, tape, made);
    t.equal(keysOf(tape).join(), before, who);
    core.forget(tape);
  }
  const record = () => {
    const filled = new DenseTensor(core.heap, [6]);
    const all = { extents: [6], from: [1], to: [1], firstFrom: 0, firstTo: 0 };
    movePart(core, x, filled, all);
    movePart(core, x, filled, { ...all, extents: [2], firstTo: 1 });
    return read(core, filled, { shape: [6], strides: [1] });
  };
  const [tape, idle] = [core.makeTape(), core.makeTape()];
  const kept = core.record(tape, record);
  compose(core, tape, [kept]);
  await tape.replay({});
  t.deepEqual([...kept.data], [1, 1, 2, 4, 5, 6], 'what is written twice is not looked through');
  t.equal(tape.steps.length, 3);
  core.record(idle, record);
  compose(core, idle, []);
  t.equal(idle.steps.length, 0, 'nor is what nobody wants done');
  core.forget(idle);
  core.forget(tape);
  await rt.close();
});

test('composed moves: what is overwritten between two moves was read before', async (t) => {
  const rt = await makeRuntime({ threads: 1 });
  const core = coreOf(rt);
  const x = rt.tensor([1, 2, 3], [3]);
  const tape = core.makeTape();
  const kept = core.record(tape, () => {
    const y = rt.unarySync('neg', x) as DenseTensor;
    const copy = read(core, y, { shape: [3], strides: [1] });
    rt.unarySync('abs', y, { out: y });
    return [y, read(core, copy, { shape: [2], strides: [1], first: 1 })];
  });
  compose(core, tape, kept);
  await tape.replay({});
  t.deepEqual(
    kept.map(({ data }) => [...data]),
    [
      [1, 2, 3],
      [-2, -3],
    ],
  );
  core.forget(tape);
  await rt.close();
});

/** A random run: parts, orders and joins of what is there, functions between them, and memory that is given back early. */
function wander(
  core: Core,
  random: Random,
  inputs: readonly DenseTensor[],
  run: (x: DenseTensor) => DenseTensor,
): DenseTensor[] {
  const live: DenseTensor[] = inputs.map(run);
  const step = (): DenseTensor => {
    const x = random.pick(live);
    const [rows, columns, inner] = x.shape as [number, number, number];
    const strides = denseStrides(x.shape);
    switch (random.int(0, 5)) {
      case 0: {
        const axes = random.pick([
          [0, 2, 1],
          [1, 0, 2],
          [2, 1, 0],
          [1, 2, 0],
        ]);
        return read(core, x, {
          shape: axes.map((axis) => x.shape[axis]!),
          strides: axes.map((axis) => strides[axis]!),
        });
      }
      case 1: {
        const same = live.filter(({ shape }) => shape[0] === rows && shape[2] === inner);
        return joined(
          core,
          Array.from({ length: random.int(2, 3) }, () => random.pick(same)),
        );
      }
      case 2: {
        const [first, by] = [random.int(0, columns - 1), random.int(1, 2)];
        const count = random.int(1, Math.floor((columns - 1 - first) / by) + 1);
        const shape = [rows, count, inner];
        return read(core, x, {
          shape,
          strides: [strides[0]!, by * strides[1]!, 1],
          first: first * strides[1]!,
        });
      }
      case 3: {
        const row = random.int(0, rows - 1);
        return read(core, x, { shape: [1, columns, inner], strides, first: row * strides[0]! });
      }
      case 4:
        return x.shape[1]! % 2 === 0
          ? read(core, x, {
              shape: [2, rows * (columns / 2), inner],
              strides: [inner, 2 * inner, 1],
            })
          : read(core, x, {
              shape: [rows, columns, inner],
              strides: [strides[0]!, -strides[1]!, 1],
              first: (columns - 1) * inner,
            });
      default:
        return run(x);
    }
  };
  for (let count = random.int(4, 24); count > 0; count--) {
    const made = step();
    if (sizeOf(made.shape) > 4000) made.dispose();
    else live.push(made);
    while (live.length > 4) live.splice(random.int(0, live.length - 2), 1)[0]!.dispose();
  }
  return live;
}

for (const threads of [1, 2])
  test(seeded(`composed moves: at random, ${threads} threads`), async (t) => {
    const rt = await makeRuntime({ threads });
    const core = coreOf(rt);
    let [moves, left, wrong] = [0, 0, 0];
    for (let turn = 0; turn < 300; turn++) {
      const salt = SEED + 1000 * threads + turn;
      const sizes = new Random(salt);
      const shape = [sizes.int(1, 4), sizes.int(1, 6), sizes.int(1, 7)];
      const inputs = [0, 1].map(() => rt.tensor(sizes.floats(sizeOf(shape)), shape) as DenseTensor);
      const run = (x: DenseTensor) => rt.unarySync('neg', x) as DenseTensor;
      const plain = wander(core, new Random(salt), inputs, run);
      const tape = core.makeTape();
      const recorded = core.record(tape, () => wander(core, new Random(salt), inputs, run));
      moves += tape.steps.length;
      compose(core, tape, recorded);
      left += tape.steps.length;
      for (let replay = 0; replay < 2; replay++) {
        for (const one of recorded) one.data.fill(Number.NaN);
        await tape.replay({});
        const isRight = recorded.every(({ data }, i) => data.join() === plain[i]!.data.join());
        if (!isRight) t.fail(`run ${turn} of seed ${SEED}, replay ${replay}`);
        wrong += isRight ? 0 : 1;
      }
      for (const one of [...recorded, ...plain, ...inputs]) one.dispose();
      core.forget(tape);
    }
    t.equal(wrong, 0, 'the same bytes');
    t.ok(left < 0.8 * moves, `${left} steps of ${moves}`);
    t.deepEqual(
      [rt.memory().tensors, core.backend.memoryUse().byOwner.tensors],
      [0, 0],
      'all memory came back',
    );
    await rt.close();
  });
