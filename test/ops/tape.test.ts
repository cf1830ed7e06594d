/** What is recorded is run again as one job: the same bytes as call by call, on any number of threads, whatever happens to them. */
import test from 'tape';
import { coreOf, createRuntimeWith } from '../../src/ops/runtime.ts';
import type { Tape } from '../../src/ops/tape.ts';
import type { DenseTensor } from '../../src/ops/tensor.ts';
import type { Runtime, Tensor } from '../../src/ops/types.ts';
import {
  codeOf,
  endAll,
  failure,
  SLOW_MACHINE,
  sleep,
  type WatchedHost,
  watchedHost,
} from '../support/faulty.ts';
import { Random, SEED, seeded } from '../support/seed.ts';

function makeTeam(threads: number, host: WatchedHost = watchedHost()): Promise<Runtime> {
  return createRuntimeWith(
    { threads, wisdom: false, numerics: 'exact', workerTimeoutMs: 20_000 },
    { host, machine: SLOW_MACHINE },
  );
}

interface Network {
  readonly input: Float32Array;
  /** Runs everything once; the result is a tensor of the runtime's. */
  readonly run: () => Tensor;
}

/** Layers of every kind: products with and without packing, convolutions with several phases, elements, lines, moves, pooling. */
function network(rt: Runtime, random: Random, side: number): Network {
  const values = (...shape: number[]) => {
    const count = shape.reduce((x, y) => x * y, 1);
    return rt.tensor(random.floats(count), shape);
  };
  const x = values(1, 8, side, side);
  const filters = [3, 1, 5].map((size) => rt.prepack(values(8, 8, size, size), { op: 'conv' }));
  const deep = rt.prepack(values(8, 1, 3, 3), { op: 'conv' });
  const weights = values(side * side, 40);
  const bias = values(8);
  const run = () => {
    let y: Tensor = x;
    for (const [at, w] of filters.entries())
      y = rt.conv2dSync(y, w, { padding: 'same', bias, activation: at ? 'relu' : 'silu' });
    y = rt.conv2dSync(y, deep, { padding: 1, groups: 8 });
    y = rt.binarySync('add', y, x);
    const pooled = rt.maxPool2dSync(y, 3, { stride: 2, padding: 1 });
    const turned = rt.transposeSync(y, [0, 1, 3, 2]);
    const flat = (turned as DenseTensor).reshaped([8, side * side]);
    const scores = rt.softmaxSync(rt.matmulSync(flat, weights), { axis: -1 });
    const mean = rt.reduceSync('mean', pooled, { axes: [2, 3], keepDims: true });
    return rt.binarySync('mul', scores, (mean as DenseTensor).reshaped([8, 1]));
  };
  return { input: x.data as Float32Array, run };
}

interface Recorded extends Network {
  readonly tape: Tape;
  readonly output: Tensor;
}

function recorded(rt: Runtime, made: Network): Recorded {
  const core = coreOf(rt);
  const tape = core.makeTape();
  return { ...made, tape, output: core.record(tape, made.run) };
}

/** The bytes that a fresh run gives for what the input holds. */
function wanted({ run }: Network): string {
  const fresh = run();
  const text = fresh.data.join();
  fresh.dispose();
  return text;
}

test('a tape: nothing is executed before it is run, or spoiled', async (t) => {
  const rt = await makeTeam(1);
  const core = coreOf(rt);
  const x = rt.tensor([1, -2], [2]);
  const [y, z] = [rt.tensor([7, 7], [2]), rt.tensor([7, 7], [2])];
  for (const how of ['run', 'spoiled'] as const) {
    const tape = core.makeTape();
    for (const out of [y, z]) out.data.fill(7);
    core.record(tape, () => {
      rt.unarySync('neg', x, { out: y });
      rt.unarySync('abs', y, { out: z });
    });
    t.deepEqual([...y.data, ...z.data], [7, 7, 7, 7], 'recorded');
    if (how === 'run') await tape.replay({});
    else core.record(tape, () => tape.spoil('somebody looks'));
    t.deepEqual([...y.data, ...z.data], [-1, 2, 1, 2], how);
    core.record(tape, () => rt.unarySync('abs', x, { out: y }));
    t.deepEqual([...y.data], how === 'run' ? [-1, 2] : [1, 2], 'a spoiled one executes what comes at once');
    core.forget(tape);
  }
  await rt.close();
});

test('a tape: what looks at values gets them', async (t) => {
  const rt = await makeTeam(1);
  const core = coreOf(rt);
  const x = rt.tensor([1, -2, 3, -4], [2, 2]);
  const kernel = rt.kernel(new Function('return function (a) { return a + 1; }')());
  const looks: Record<string, (y: Tensor) => Tensor> = {
    'a function of the caller': (y) => kernel.runSync([y]),
    'panels of it': (y) => rt.matmulSync(x, rt.prepack(y)),
    'filters of it': (y) =>
      rt.conv2dSync(
        { data: new Float32Array(4).fill(1), shape: [1, 1, 2, 2] },
        rt.prepack((y as DenseTensor).reshaped([1, 1, 2, 2]), { op: 'conv' }),
      ),
    'a sum of nothing': (y) =>
      rt.binarySync(
        'add',
        y,
        rt.matmulSync(
          { data: new Float32Array(0), shape: [2, 0] },
          { data: new Float32Array(0), shape: [0, 2] },
          { bias: { data: Float32Array.of(5, 6), shape: [2] } },
        ),
      ),
    'quantised values': (y) =>
      rt.matmulDynamicSync(y, { data: Int8Array.of(1, 2, 3, 4), shape: [2, 2] }, { wScale: 1 }),
  };
  for (const [what, look] of Object.entries(looks)) {
    const make = () => look(rt.unarySync('neg', x));
    const tape = core.makeTape();
    t.equal(core.record(tape, make).data.join(), make().data.join(), what);
    t.ok(tape.spoiled, `${tape.spoiled}`);
    core.forget(tape);
  }
  await rt.close();
});

test('a tape: short is what one thread has done before others have waited for one another', async (t) => {
  const rt = await makeTeam(2);
  const core = coreOf(rt);
  const x = rt.tensor([1, -2], [2]);
  const tapeOf = (isRow: boolean): Tape => {
    const tape = core.makeTape();
    core.record(tape, () => {
      let y = x;
      for (let i = 0; i < 4; i++) y = rt.unarySync('neg', isRow ? y : x);
    });
    return tape;
  };
  const [row, abreast] = [tapeOf(true), tapeOf(false)];
  const isShort = (tape: Tape, us: number) => tape.isShort(() => us / 1e3);
  t.deepEqual([isShort(row, 4.9), isShort(row, 5.1)], [true, false], 'four waits of 5 microseconds');
  t.deepEqual([isShort(abreast, 1.2), isShort(abreast, 1.3)], [true, false], 'one wait');
  await rt.close();
});

for (const threads of [1, 2, 3]) {
  test(seeded(`a tape: the same bytes as call by call, ${threads} threads`), async (t) => {
    const rt = await makeTeam(threads);
    const random = new Random(SEED + threads);
    const made = recorded(rt, network(rt, random, 13));
    const faults: number[] = [];
    for (let turn = 0; turn < 60; turn++) {
      made.input.set(random.floats(made.input.length));
      (made.output.data as Float32Array).fill(Number.NaN);
      await made.tape.replay({});
      const got = made.output.data.join();
      if (got !== wanted(made)) faults.push(turn);
    }
    t.deepEqual(faults, []);
    coreOf(rt).forget(made.tape);
    t.equal(rt.memory().byOwner.scratch, 0, 'no scratch is left');
    await rt.close();
  });
}

test(seeded('a tape: aborts at any moment, and the run after each is right'), async (t) => {
  const rt = await makeTeam(2);
  const random = new Random(SEED);
  const made = recorded(rt, network(rt, random, 160));
  const right = wanted(made);
  const ends = new Set<string>();
  for (let turn = 0; turn < 30; turn++) {
    const controller = new AbortController();
    const pending = Promise.resolve(made.tape.replay({ signal: controller.signal }));
    setTimeout(() => controller.abort(new Error('enough')), random.int(0, 8));
    const error = await failure(pending);
    ends.add(error instanceof Error ? error.message : 'done');
    await made.tape.replay({});
    if (made.output.data.join() !== right) t.fail(`turn ${turn}: another result`);
  }
  t.ok(ends.has('enough'), `some were stopped (${[...ends]})`);
  await rt.close();
  t.equal(await codeOf(async () => made.tape.replay({})), 'E_CLOSED', 'not on a closed runtime');
});

test(seeded('a tape: a thread that is ended in the middle'), async (t) => {
  const host = watchedHost();
  const rt = await makeTeam(2, host);
  const made = recorded(rt, network(rt, new Random(SEED), 160));
  const right = wanted(made);
  const codes = new Set<string>();
  for (let turn = 0; turn < 8; turn++) {
    const pending = Promise.resolve(made.tape.replay({}));
    await sleep(turn);
    const ended = endAll(host);
    codes.add(await codeOf(pending));
    await ended;
    await made.tape.replay({});
    if (made.output.data.join() !== right) t.fail(`turn ${turn}: another result`);
  }
  codes.delete('none');
  t.deepEqual(
    [...codes].filter((code) => code !== 'E_WORKER_DIED'),
    [],
    'callers hear of a lost worker, or nothing was lost',
  );
  await rt.close();
});
