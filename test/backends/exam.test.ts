/**
 * The conformance exam: every backend takes the same tests, and what passes may stand behind the public calls. A new
 * backend is one more line in BACKENDS.
 */

import test from 'tape';
import { ReferenceBackend } from '../../src/backends/reference/backend.ts';
import type { Backend, Owner } from '../../src/backends/types.ts';
import { TesseraeError } from '../../src/core/errors.ts';
import { KERNELS } from '../../src/kernels/table.ts';
import type { Plan } from '../../src/plan/plan.ts';
import { matmulProblem } from '../../src/problem/matmul.ts';
import { lowerMatmul as lower } from '../../src/schedule/lower/gemm.ts';
import { makeWasmBackend, runAsync, runSync } from '../support/bench.ts';
import { faultOf } from '../support/compare.ts';
import { PLAN as ANY_PLAN } from '../support/executions.ts';
import { ALL_KERNELS, randomKernel, randomPlan, randomProblem, randomValues } from '../support/problems.ts';
import { Random, SEED, seeded } from '../support/seed.ts';

interface Candidate {
  readonly name: string;
  make(): { backend: Backend; kernels: ReadonlySet<string> };
  readonly problems: number;
}

const BACKENDS: readonly Candidate[] = [
  {
    name: 'wasm',
    make: () => {
      const backend = makeWasmBackend({ initial: 0 });
      return { backend, kernels: new Set(backend.kernels.keys()) };
    },
    problems: 500,
  },
  {
    name: 'reference',
    make: () => ({ backend: new ReferenceBackend(), kernels: ALL_KERNELS }),
    problems: 200,
  },
];

const OWNERS: readonly Owner[] = ['tensors', 'prepacked', 'scratch', 'runtime'];
const PLAN: Plan = { ...ANY_PLAN, backend: 'wasm', threads: 2 };

/** The exam of memory: what is handed out is aligned, apart, and keeps what is written. */
function memoryExam({ name, make }: Candidate): void {
  test(seeded(`exam ${name}: memory`), async (t) => {
    const { backend } = make();
    const random = new Random(1);
    const before = backend.memoryUse();
    const live = new Map<number, { values: Float32Array; owner: Owner }>();
    let [aligned, kept, disjoint, used] = [true, true, true, 0];
    for (let turn = 0; turn < 400; turn++) {
      if (live.size > 20 || (live.size > 0 && random.chance(0.4))) {
        const [address, { values }] = random.pick([...live]);
        const view = backend.view(address, values.length);
        kept &&= values.every((value, index) => view[index] === value);
        live.delete(address);
        backend.free(address);
        used -= 4 * values.length;
        continue;
      }
      // now and then a large block, so that memory grows under those that are there
      const count = random.chance(0.05) ? random.int(200_000, 400_000) : random.int(0, 5000);
      const owner = random.pick(OWNERS);
      const address = backend.allocate(4 * count, owner);
      aligned &&= address > 0 && address % 64 === 0;
      for (const [other, { values }] of live) {
        disjoint &&= address + 4 * count + 128 <= other || other + 4 * values.length + 128 <= address;
      }
      const values = random.floats(count);
      backend.view(address, count).set(values);
      live.set(address, { values, owner });
      used += 4 * count;
    }
    t.ok(aligned, 'addresses are multiples of 64 and not 0');
    t.ok(disjoint, 'blocks do not overlap, 128 bytes between them');
    t.ok(kept, 'every block kept what was written');
    const use = backend.memoryUse();
    t.equal(use.used - before.used, used, 'used counts the bytes that were asked for');
    for (const owner of OWNERS) {
      const owned = [...live.values()]
        .filter((block) => block.owner === owner)
        .reduce((sum, { values }) => sum + 4 * values.length, 0);
      t.equal(use.byOwner[owner] - before.byOwner[owner], owned, `bytes of ${owner}`);
    }
    for (const address of live.keys()) backend.free(address);
    t.deepEqual(backend.memoryUse().byOwner, before.byOwner, 'all is given back');
    t.throws(() => backend.free(12345), 'what was not allocated cannot be freed');
    await backend.close();
    t.end();
  });

  test(seeded(`exam ${name}: memory that is not there`), async (t) => {
    const { backend } = make();
    const { maximum } = backend.memoryUse();
    try {
      backend.allocate(maximum + 4, 'tensors');
      t.fail('more than the maximum was handed out');
    } catch (error) {
      t.ok(error instanceof TesseraeError && error.code === 'E_MEMORY', 'typed error');
      const { needed, available } = (error as TesseraeError).values as { needed: number; available: number };
      t.equal(needed, maximum + 4, 'it says what was needed');
      t.ok(available > 0 && available <= maximum, 'and what there is');
    }
    const address = backend.allocate(64, 'tensors');
    t.ok(address > 0, 'the next request is served');
    await backend.close();
    t.end();
  });
}

function arithmeticExam({ name, make, problems }: Candidate): void {
  test(seeded(`exam ${name}: ${problems} random problems and plans`), async (t) => {
    const { backend, kernels } = make();
    const before = backend.memoryUse().byOwner;
    const random = new Random(2);
    const faults: string[] = [];
    const seen = new Set<string>();
    for (let turn = 0; turn < problems; turn++) {
      const p = randomProblem(random, {
        batches: true,
        epilogues: true,
        prepacked: true,
        exact: random.chance(0.2),
      });
      const kernel = randomKernel(p, kernels, random);
      const plan = randomPlan(p, kernel, random, 3);
      const values = randomValues(p, random);
      const run = random.chance(0.3)
        ? await runAsync(backend, p, plan, values)
        : runSync(backend, p, plan, values);
      const fault = run.fault ?? faultOf(p, values, run.values);
      if (fault) faults.push(`${fault} ${JSON.stringify(p)} ${JSON.stringify(plan)}`);
      for (const trait of [
        kernel.family,
        p.activation,
        `bias ${p.bias}`,
        p.leading ? 'partial broadcast' : '',
        p.panel ? 'prepacked' : '',
      ])
        seen.add(trait);
    }
    t.deepEqual(faults.slice(0, 3), [], 'all within eps x k x magnitude of float64');
    for (const trait of [
      'packed',
      'direct',
      'axpy',
      'dot',
      'gelu',
      'clip',
      'bias row',
      'bias column',
      'partial broadcast',
      'prepacked',
    ]) {
      t.ok(seen.has(trait), `${trait} occurred`);
    }
    const { runtime: _held, ...after } = backend.memoryUse().byOwner;
    const { runtime: _kept, ...first } = before;
    t.deepEqual(after, first, 'no memory is left behind');
    await backend.close();
    t.end();
  });

  test(seeded(`exam ${name}: jobs that overlap`), async (t) => {
    const { backend } = make();
    const random = new Random(3);
    const cases = Array.from({ length: 12 }, () => {
      const p = matmulProblem({ m: random.int(1, 90), n: random.int(1, 90), k: random.int(1, 90) });
      return { p, values: randomValues(p, random) };
    });
    const running = cases.map(({ p, values }) => runAsync(backend, p, PLAN, values));
    const other = { p: matmulProblem({ m: 20, n: 20, k: 20 }) };
    const inBetween = { ...other, values: randomValues(other.p, random) };
    const here = runSync(backend, inBetween.p, PLAN, inBetween.values);
    t.equal(faultOf(inBetween.p, inBetween.values, here.values), undefined, 'a synchronous call in between');
    const runs = await Promise.all(running);
    t.deepEqual(
      runs.map((run, i) => run.fault ?? faultOf(cases[i]!.p, cases[i]!.values, run.values)).filter(Boolean),
      [],
      'each got its own result',
    );
    await backend.close();
    t.end();
  });

  test(seeded(`exam ${name}: a job that is stopped`), async (t) => {
    const { backend } = make();
    const p = matmulProblem({ m: 64, n: 64, k: 64 });
    const program = lower(p, PLAN);
    const prepared = backend.prepare(program);
    const block = () => backend.allocate(4 * 64 * 64 * 4, 'scratch');
    const call = {
      a: block(),
      b: block(),
      c: block(),
      c0: 0,
      slope: 0,
      own: 0,
      bias: 0,
      packedA: block(),
      packedB: block(),
      alpha: 1,
      beta: 0,
      p0: 0,
      p1: 0,
    };
    const job = backend.run(prepared, call, 1);
    const reason = new Error('enough');
    job.stop(reason);
    const outcome = await job.finished.then(
      () => 'finished',
      (error: unknown) => error,
    );
    t.equal(outcome, reason, 'it rejects with the reason');
    const random = new Random(4);
    const values = randomValues(p, random);
    const run = await runAsync(backend, p, PLAN, values);
    t.equal(faultOf(p, values, run.values), undefined, 'and the next job is right');
    const whole = backend.run(prepared, call, 1);
    await whole.finished;
    t.equal(whole.done(), whole.total, 'a job that ends well has done all');
    prepared.release();
    await backend.close();
    t.end();
  });
}

for (const candidate of BACKENDS) {
  memoryExam(candidate);
  arithmeticExam(candidate);
}

test(seeded('exam: every kernel was open to the fuzz'), (t) => {
  t.equal(ALL_KERNELS.size, KERNELS.length, `${KERNELS.length} rows, seed ${SEED}`);
  t.end();
});
