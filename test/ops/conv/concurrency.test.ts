/** Convolutions that overlap, runtimes side by side, aborts between tiles, and memory that stays flat. */
import test from 'tape';
import { createRuntimeWith } from '../../../src/ops/runtime.ts';
import type { Progress, Runtime, RuntimeOptions, Tensor } from '../../../src/ops/types.ts';
import type { ConvAlgorithm } from '../../../src/problem/conv.ts';
import { type AskedConv, poolOracle } from '../../support/conv-oracle.ts';
import { algorithmsOf, answersTo, askConv, describe } from '../../support/conv-problems.ts';
import { failure, SLOW_MACHINE, sleep } from '../../support/faulty.ts';
import { type Answer, answerFault, array } from '../../support/oracle.ts';
import { makeRuntime } from '../../support/runtime.ts';
import { Random, seeded } from '../../support/seed.ts';

/** Every async call goes to the team. */
function onTeam(options: RuntimeOptions = {}): Promise<Runtime> {
  return createRuntimeWith({ threads: 2, wisdom: false, ...options }, { machine: SLOW_MACHINE });
}

interface Judged {
  readonly asked: AskedConv;
  readonly answer: Answer;
}

/** One question for each algorithm and layout. */
function questions(random: Random): Judged[] {
  const places = [
    askConv(random, { inC: 12, outC: 9, image: [9, 9], filter: [1, 1] }),
    askConv(random, { inC: 7, outC: 11, image: [12, 13], filter: [3, 3] }, { padding: 1 }),
    askConv(random, { inC: 8, outC: 8, image: [17, 15], filter: [3, 3] }, { padding: 1, groups: 8 }),
    askConv(random, { inC: 6, outC: 10, image: [11, 9], filter: [3, 3] }, { padding: 1, layout: 'nhwc' }),
    askConv(random, { inC: 9, outC: 9, image: [11, 9], filter: [3, 3] }, { groups: 9, layout: 'nhwc' }),
  ];
  return places.flatMap((plain) => {
    const answers = answersTo(plain);
    return algorithmsOf(plain).map((algorithm) => ({
      asked: { ...plain, algorithm },
      answer: answers(algorithm),
    }));
  });
}

function start(rt: Runtime, { asked: { x, w, ...options } }: Judged, signal?: AbortSignal): Promise<Tensor> {
  return rt.conv2d(x, w, { ...options, ...(signal ? { signal } : {}) });
}

function judge({ asked, answer }: Judged, got: Tensor): string | undefined {
  const fault = answerFault(answer, got);
  got.dispose();
  return fault && `${fault}: ${describe(asked)}`;
}

test(seeded('conv2d: overlapping calls of every algorithm give what serial calls give'), async (t) => {
  const list = questions(new Random(2700));
  for (const [name, rt] of [
    ['on the team', await onTeam()],
    ['as planned', await makeRuntime({ threads: 3 }, 300)],
  ] as const) {
    const serial: Float32Array[] = [];
    for (const question of list) {
      using got = await start(rt, question);
      serial.push(got.data.slice());
    }
    const results = await Promise.all([...list, ...list].map((question) => start(rt, question)));
    const unlike = results.filter((got, i) =>
      got.data.some((value, at) => value !== serial[i % list.length]![at]),
    );
    t.equal(unlike.length, 0, `${name}: the same bytes, ${results.length} calls at once`);
    const faults = results.map((got, i) => judge(list[i % list.length]!, got)).filter(Boolean);
    t.deepEqual(faults.slice(0, 2), [], `${name}: and right`);
    t.equal(rt.memory().tensors + rt.memory().byOwner.scratch, 0, 'memory is back');
    await rt.close();
  }
  t.end();
});

test(seeded('conv2d: two runtimes at once, sync calls among async ones, pooling in between'), async (t) => {
  const random = new Random(2701);
  const list = questions(random);
  const [p, q] = [await onTeam(), await onTeam({ threads: 3 })];
  const x = array(random, [1, 8, 33, 31]);
  const pooled = poolOracle({ kind: 'max', x, size: 3, stride: 2, padding: 1 });
  for (let turn = 0; turn < 4; turn++) {
    const calls = [p, q].flatMap((rt) =>
      list.map(async (question) => judge(question, await start(rt, question))),
    );
    const pools = [p, q].map(async (rt) => {
      using got = await rt.maxPool2d(x, 3, { stride: 2, padding: 1 });
      return answerFault(pooled, got);
    });
    const sync = [p, q].flatMap((rt) =>
      list.slice(0, 5).map((question) => {
        const { x: image, w, ...options } = question.asked;
        return judge(question, rt.conv2dSync(image, w, options));
      }),
    );
    const faults = [...sync, ...(await Promise.all([...calls, ...pools]))].filter(Boolean);
    t.deepEqual(faults.slice(0, 2), [], `turn ${turn}: ${faults.length} faults`);
  }
  await p.close();
  const after = await Promise.all(list.map(async (question) => judge(question, await start(q, question))));
  t.deepEqual(after.filter(Boolean), [], 'one works on when the other is closed');
  await q.close();
  t.end();
});

test(
  seeded('conv2d: the first calls of fresh runtimes, while their threads are still coming up'),
  async (t) => {
    const list = questions(new Random(2707));
    const faults: string[] = [];
    for (let turn = 0; turn < 10; turn++) {
      // a short patience, so that a thread that waits for what was overwritten does not cost half a minute
      const rt = await onTeam({ threads: 4, workerTimeoutMs: 3000 });
      const calls = list.map((question) => start(rt, question));
      for (const question of list.slice(0, 5)) {
        const { x, w, ...options } = question.asked;
        const fault = judge(question, rt.conv2dSync(x, w, options));
        if (fault) faults.push(fault);
      }
      for (const [i, outcome] of (await Promise.allSettled(calls)).entries()) {
        const question = list[i]!;
        const fault =
          outcome.status === 'fulfilled'
            ? judge(question, outcome.value)
            : `${String(outcome.reason)}: ${describe(question.asked)}`;
        if (fault) faults.push(`runtime ${turn}: ${fault}`);
      }
      await rt.close();
    }
    t.deepEqual(faults.slice(0, 3), [], `${faults.length} faults`);
    t.end();
  },
);

/** Large enough to take tens of milliseconds by any algorithm. */
const LARGE = { inC: 64, outC: 96, image: [112, 112], filter: [3, 3] } as const;

test(seeded('conv2d: aborted between tiles'), async (t) => {
  const rt = await onTeam();
  const random = new Random(2702);
  const { x, w } = askConv(random, LARGE, { padding: 1 });
  const [image, filter] = [rt.tensor(x.data, x.shape), rt.tensor(w.data, w.shape)];
  const whole = await rt.conv2d(image, filter, { padding: 1, algorithm: 'direct' });
  let midway = 0;
  for (const algorithm of [
    'implicit',
    'direct',
    'winograd2',
    'winograd4',
  ] as const satisfies readonly ConvAlgorithm[]) {
    const options = { padding: 1, algorithm };
    (await rt.conv2d(image, filter, options)).dispose();
    const before = rt.memory();
    for (const wait of [0, 5, 15]) {
      const abort = new AbortController();
      const reason = new Error(`after ${wait} ms`);
      const call = failure(rt.conv2d(image, filter, { ...options, signal: abort.signal }));
      await sleep(wait);
      abort.abort(reason);
      const error = await call;
      if (wait > 0 && error === reason) midway++;
      t.ok(
        error === reason || (error === undefined && wait > 0),
        `${algorithm}: the signal's own reason after ${wait} ms`,
      );
    }
    const seen: Progress[] = [];
    const stop = new AbortController();
    const onProgress = (progress: Progress) => {
      seen.push(progress);
      stop.abort('seen');
    };
    const outcome = await failure(rt.conv2d(image, filter, { ...options, signal: stop.signal, onProgress }));
    t.ok(
      outcome === 'seen' || seen.at(-1)?.done === seen.at(-1)?.total,
      `${algorithm}: aborted from a listener`,
    );
    // results of calls that were not stopped in time stay; nobody has them to dispose
    const { scratch, prepacked } = rt.memory().byOwner;
    t.deepEqual(
      [scratch, prepacked],
      [before.byOwner.scratch, before.byOwner.prepacked],
      `${algorithm}: scratch is back`,
    );
    using again = await rt.conv2d(image, filter, options);
    const off = again.data.findIndex((value, at) => Math.abs(value - whole.data[at]!) > 2e-3);
    t.equal(off, -1, `${algorithm}: the next call is right`);
  }
  t.ok(midway > 0, `${midway} of 8 were stopped midway`);
  await rt.close();
  t.end();
});

test(seeded('conv2d: aborted before it begins'), async (t) => {
  const rt = await onTeam();
  const random = new Random(2703);
  const { x, w } = askConv(random, { inC: 3, outC: 4, image: [9, 9], filter: [3, 3] });
  (await rt.conv2d(x, w)).dispose();
  const before = rt.memory();
  const reason = { why: 'mine' };
  const signal = AbortSignal.abort(reason);
  t.equal(await failure(rt.conv2d(x, w, { signal })), reason, 'conv2d');
  t.equal(await failure(rt.maxPool2d(x, 2, { signal })), reason, 'maxPool2d');
  t.equal(await failure(rt.averagePool2d(x, 2, { signal })), reason, 'averagePool2d');
  t.equal(await failure(rt.globalPool2d(x, 'max', { signal })), reason, 'globalPool2d');
  t.equal(
    await failure(rt.conv1d({ ...x, shape: [1, 3, 81] }, { ...w, shape: [4, 3, 9] }, { signal })),
    reason,
    'conv1d',
  );
  t.equal(
    await failure(rt.convTranspose2d(x, { data: new Float32Array(27), shape: [3, 1, 3, 3] }, { signal })),
    reason,
    'convTranspose2d',
  );
  t.deepEqual(rt.memory(), before, 'nothing was taken');
  await rt.close();
  t.end();
});

test(seeded('conv2d: progress rises to its total'), async (t) => {
  const rt = await onTeam();
  const { x, w } = askConv(new Random(2704), LARGE, { padding: 1 });
  const seen: Progress[] = [];
  (await rt.conv2d(x, w, { padding: 1, onProgress: (progress) => seen.push(progress) })).dispose();
  const last = seen.at(-1);
  t.ok(
    last && last.done === last.total,
    `told ${seen.length} times, at the end ${last?.done} of ${last?.total}`,
  );
  t.ok(
    seen.every(
      ({ done, total, phase }, i) =>
        phase === 'run' && total === last!.total && (i === 0 || done >= seen[i - 1]!.done),
    ),
    'it never goes back',
  );
  await rt.close();
  t.end();
});

test(seeded('conv2d: memory is flat after 200 calls, a third of them aborted'), async (t) => {
  const rt = await onTeam();
  const random = new Random(2705);
  const list = questions(random);
  for (const question of list) (await start(rt, question)).dispose();
  const before = rt.memory();
  const faults: unknown[] = [];
  let aborted = 0;
  for (let turn = 0; turn < 200; turn++) {
    const question = random.pick(list);
    const abort = new AbortController();
    const call = start(rt, question, abort.signal);
    if (turn % 3 === 0) abort.abort('enough');
    try {
      const fault = judge(question, await call);
      if (fault) faults.push(fault);
    } catch (error) {
      if (error === 'enough') aborted++;
      else faults.push(error);
    }
  }
  t.deepEqual(faults.slice(0, 2), [], `${faults.length} faults`);
  t.ok(aborted > 30, `${aborted} were aborted`);
  t.deepEqual(rt.memory(), before, 'memory is as before');
  await rt.close();
  t.end();
});

test(seeded('conv2d: calls in flight when the runtime is closed'), async (t) => {
  const rt = await onTeam();
  const { x, w } = askConv(new Random(2706), LARGE, { padding: 1 });
  const calls = Array.from({ length: 3 }, () => failure(rt.conv2d(x, w, { padding: 1 })));
  await rt.close();
  const codes = (await Promise.all(calls)).map(
    (error) => (error as { code?: string } | undefined)?.code ?? 'done',
  );
  t.ok(
    codes.every((code) => code === 'E_CLOSED' || code === 'done'),
    codes.join(', '),
  );
  t.end();
});
