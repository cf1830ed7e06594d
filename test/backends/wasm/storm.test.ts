/** The team under pressure: many jobs on the same few job words, threads that come late, aborts and ends at any moment. */
import test from 'tape';
import { TesseraeError } from '../../../src/core/errors.ts';
import { createRuntimeWith } from '../../../src/ops/runtime.ts';
import type { Runtime } from '../../../src/ops/types.ts';
import { failure, SLOW_MACHINE, sleep, until, type WatchedHost, watchedHost } from '../../support/faulty.ts';
import { type Product, wholeProduct, wrong, wrongAsync, wrongSync } from '../../support/products.ts';
import { Random, SEED, seeded } from '../../support/seed.ts';

/** From one record to some hundred, with one phase and with several. */
const EXTENTS: readonly (readonly [number, number, number])[] = [
  [1, 33, 5],
  [1, 300, 700],
  [300, 200, 1],
  [4, 4, 4],
  [17, 9, 23],
  [64, 64, 64],
  [65, 40, 130],
  [130, 64, 70],
  [250, 31, 260],
];
const products = EXTENTS.map(([m, k, n], salt) => wholeProduct(m, k, n, salt));
const large = wholeProduct(700, 300, 700);

function makeTeam(threads: number, host: WatchedHost): Promise<Runtime> {
  return createRuntimeWith(
    { threads, wisdom: false, workerTimeoutMs: 20_000 },
    { host, machine: SLOW_MACHINE },
  );
}

for (const threads of [1, 2, 3]) {
  test(seeded(`thousands of calls on ${threads} threads, sync and async by turns`), async (t) => {
    const rt = await makeTeam(threads, watchedHost());
    const random = new Random(threads);
    const faults: string[] = [];
    const note = (fault: string | undefined) => {
      if (fault) faults.push(fault);
    };
    for (let turn = 0; turn < 500; turn++) {
      const calls: Promise<void>[] = [];
      for (let left = random.int(1, 4); left > 0; left--) {
        const product = random.pick(products);
        if (random.chance(0.5)) note(wrongSync(rt, product));
        else calls.push(wrongAsync(rt, product).then(note));
      }
      await Promise.all(calls);
    }
    t.deepEqual(faults.slice(0, 3), [], 'every result is right');
    t.equal(rt.memory().byOwner.scratch, 0, 'no scratch is left');
    t.equal(rt.memory().tensors, 0, 'no tensor is left');
    await rt.close();
  });
}

/** Aborts at any moment of a call; each settles one way or the other. */
async function abortStorm(
  rt: Runtime,
  product: Product,
  turns: number,
): Promise<{ aborted: number; faults: string[] }> {
  const random = new Random(turns);
  const faults: string[] = [];
  let aborted = 0;
  for (let turn = 0; turn < turns; turn++) {
    const abort = new AbortController();
    const call = rt.matmul(product.a, product.b, { signal: abort.signal });
    const behind = wrongAsync(rt, products[turn % products.length]!);
    const moment = random.int(0, 40);
    if (moment > 20) await sleep(0);
    for (let spin = 0; spin < moment * 500; spin++) Math.sqrt(spin);
    abort.abort();
    const error = await failure(call);
    if (error === undefined) faults.push(wrong(await call, product) ?? '');
    else if ((error as Error).name === 'AbortError') aborted++;
    else faults.push(String(error));
    faults.push((await behind) ?? '');
  }
  return { aborted, faults: faults.filter((fault) => fault !== '') };
}

test(seeded('aborts at any moment'), async (t) => {
  const rt = await makeTeam(2, watchedHost());
  await rt.prepare(['700x300x700']);
  const { aborted, faults } = await abortStorm(rt, large, 150);
  t.deepEqual(
    faults.slice(0, 3),
    [],
    'every call ends well or with an AbortError, and the one behind it is right',
  );
  t.ok(aborted > 10, `${aborted} of 150 were aborted`);
  t.equal(rt.memory().byOwner.scratch, 0, 'no scratch is left');
  await rt.close();
});

test(`100 workers terminated at any moment of a call (seed ${SEED})`, async (t) => {
  const host = watchedHost();
  const rt = await makeTeam(2, host);
  await rt.prepare(['700x300x700']);
  const random = new Random(100);
  const foreign: string[] = [];
  let died = 0;
  for (let turn = 0; turn < 100; turn++) {
    // workers that still come up take part in nothing: where that takes longer than a turn, too few would die at work
    if (turn % 3 === 0) await rt.prepare(['700x300x700']);
    const calls = [large, products[7]!].map((product) =>
      rt.matmul(product.a, product.b).then((c) => wrong(c, product)),
    );
    if (random.chance(0.7)) await sleep(random.int(0, 8));
    const live = host.started.filter(({ gone }) => !gone);
    // on a busy machine all may be gone, and none be there again yet
    if (live.length > 0) void random.pick(live).handle.terminate();
    for (const call of calls) {
      const error = await failure(call);
      if (error === undefined) foreign.push((await call) ?? '');
      else if (error instanceof TesseraeError && error.code === 'E_WORKER_DIED') died++;
      else foreign.push(String(error));
    }
    foreign.push(wrongSync(rt, products[turn % products.length]!) ?? '');
  }
  t.deepEqual(foreign.filter(Boolean).slice(0, 3), [], 'every call is right or ends with E_WORKER_DIED');
  t.ok(died > 10, `${died} calls lost their worker`);
  t.ok(await until(() => host.started.filter(({ gone }) => !gone).length <= 2), 'no worker is left over');
  t.equal(await wrongAsync(rt, large), undefined, 'the last call is right');
  t.equal(rt.memory().byOwner.scratch, 0, 'no scratch is left');
  await rt.close();
});
