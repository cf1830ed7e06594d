/** Runs of several calls on the threads: each step once, whoever comes, and each thread its own part first. */
import test from 'tape';
import type { Address, Linked } from '../../../src/backends/types.ts';
import type { WasmBackend } from '../../../src/backends/wasm/backend.ts';
import type { Plan } from '../../../src/plan/plan.ts';
import { inSequence, type Wave } from '../../../src/plan/waves.ts';
import { mapProblem } from '../../../src/problem/map.ts';
import { lowerMap } from '../../../src/schedule/lower/map.ts';
import { makeWasmBackend } from '../../support/bench.ts';
import { Random, seeded } from '../../support/seed.ts';

/** Elements of a step. */
const STEP = 64;
const PLAN: Plan = {
  backend: 'wasm',
  kernel: 'f32_map',
  algorithm: 'fixed',
  packing: 'none',
  mc: 1,
  kc: 1,
  nc: STEP,
  order: 'mn',
  threads: 1,
};

/** A call that adds 1 to so many stretches of an array, in place: a step that is done twice, or never, shows. */
function adding(backend: WasmBackend, steps: number): Linked & { readonly a: Address } {
  const elements = steps * STEP;
  const [a, b] = [backend.allocate(4 * elements, 'tensors'), backend.allocate(4, 'tensors')];
  backend.view(a, elements).fill(0);
  backend.view(b, 1).fill(1);
  const prepared = backend.prepare(lowerMap(mapProblem('add', [[elements], [1]], [elements], false), PLAN));
  const none = { bias: 0, slope: 0, packedA: 0, packedB: 0, own: 0, alpha: 1, beta: 0, p0: 0, p1: 0 };
  return { prepared, call: { a, b, c: a, c0: 0, ...none }, a };
}

/** The order in which one thread does the steps of a chain that is cut for others as well. */
function orderAlone(backend: WasmBackend, counts: readonly number[], waves: readonly Wave[], parts: number) {
  const chain = backend.link(
    counts.map((count) => adding(backend, count)),
    waves,
    parts,
  );
  const trace = backend.trace(chain.steps);
  backend.runChainSync(chain, 1, { trace });
  const times = Array.from({ length: chain.steps }, (_, step) => ({ step, start: trace.at(step)!.start }));
  return times.toSorted((x, y) => x.start - y.start).map(({ step }) => step);
}

test('parts: a thread does its own part from the front, then others from their end', async (t) => {
  const backend = makeWasmBackend();
  // the calling thread has the last number, which is odd
  t.deepEqual(orderAlone(backend, [6], inSequence(1), 1), [0, 1, 2, 3, 4, 5], 'one part');
  t.deepEqual(orderAlone(backend, [6], inSequence(1), 2), [3, 4, 5, 2, 1, 0], 'the second of two');
  t.deepEqual(orderAlone(backend, [8], inSequence(1), 4), [6, 7, 1, 0, 3, 2, 5, 4], 'the last of four');
  t.deepEqual(orderAlone(backend, [1], inSequence(1), 4), [0], 'fewer steps than parts');
  t.deepEqual(
    orderAlone(backend, [4, 1, 4], inSequence(3), 2),
    [2, 3, 1, 0, 4, 7, 8, 6, 5],
    'phase by phase',
  );
  t.deepEqual(
    backend
      .link([adding(backend, 2), adding(backend, 4)], [[0, 1]], 2)
      .order.map(({ call, step }) => [call, step]),
    [
      [1, 0],
      [0, 0],
      [1, 1],
      [1, 2],
      [0, 1],
      [1, 3],
    ],
    'calls side by side: the front of each in the first part',
  );
  await backend.close();
  t.end();
});

test(seeded('parts: every step once, by any number of threads'), async (t) => {
  const random = new Random(452);
  const faults: string[] = [];
  for (const threads of [1, 2, 3, 4]) {
    const backend = makeWasmBackend();
    for (let turn = 0; turn < 6; turn++) {
      const calls = Array.from({ length: random.int(1, 30) }, () => adding(backend, random.int(1, 9)));
      // calls that touch nothing of one another, in waves of any length
      const waves: number[][] = [[]];
      calls.forEach((_, call) => {
        if (random.chance(0.4)) waves.push([]);
        waves.at(-1)!.push(call);
      });
      const chain = backend.link(
        calls,
        waves.filter(({ length }) => length > 0),
        random.int(1, 5),
      );
      const runs = 40;
      for (let run = 0; run < runs; run++) {
        if (run % 2) backend.runChainSync(chain, threads);
        else await backend.runChain(chain, threads).finished;
      }
      calls.forEach(({ a, prepared }, call) => {
        const values = backend.view(a, prepared.program.steps.length * STEP);
        const wrong = values.findIndex((value) => value !== runs);
        if (wrong >= 0)
          faults.push(`${threads} threads, turn ${turn}, call ${call}: ${values[wrong]} at ${wrong}`);
      });
      chain.release();
    }
    await backend.close();
  }
  t.deepEqual(faults.slice(0, 3), [], `${faults.length} faults`);
  t.end();
});
