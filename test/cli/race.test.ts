import test from 'tape';
import { LocalEntry } from '../../src/cli/bench/entry.ts';
import { makeOperands } from '../../src/cli/bench/operands.ts';
import { RACE_DEFAULTS, type RaceOptions, race } from '../../src/cli/bench/race.ts';
import type { Contestant, Entry, Prepared } from '../../src/cli/bench/types.ts';
import { parseMatmul } from '../../src/cli/shapes/index.ts';

const SHAPE = parseMatmul('4x4x4');
const OPTIONS: RaceOptions = {
  ...RACE_DEFAULTS,
  timeMs: 60,
  warmUpMs: 10,
  sampleMs: 5,
  minRounds: 6,
  maxRounds: 20,
};

interface FakeCall {
  /** Milliseconds of the n-th call, from 0. */
  readonly ms: (call: number) => number;
  /** Spoils the answer from this call on. */
  readonly wrongFrom?: number;
  readonly throwAt?: number;
}

/** Contestants on one fake clock that only their calls move forward. */
function stage(log: string[] = []) {
  let now = 0;
  const operands = makeOperands(SHAPE);
  const right = new Float32Array(16);
  for (let i = 0; i < 4; i++) {
    for (let j = 0; j < 4; j++) {
      for (let p = 0; p < 4; p++)
        right[i * 4 + j] =
          (right[i * 4 + j] ?? 0) + (operands.a[i * 4 + p] ?? 0) * (operands.b[p * 4 + j] ?? 0);
    }
  }
  const contestant = (
    id: string,
    { ms, wrongFrom = Number.POSITIVE_INFINITY, throwAt }: FakeCall,
  ): Contestant => {
    let calls = 0;
    const out = new Float32Array(16);
    const prepared: Prepared = {
      run: () => {
        if (calls === throwAt) throw new Error('planted');
        now += ms(calls++);
        out.set(right);
        if (calls > wrongFrom) out[5] = 99;
      },
      poison: () => {
        log.push(`${id} poisoned`);
        out.fill(Number.NaN);
      },
      result: async () => out.slice(),
      plan: () => 'a plan',
      dispose: () => log.push(`${id} disposed`),
    };
    const entry: Entry = new LocalEntry(prepared, operands, {
      now: () => now,
      settle: async () => undefined,
    });
    const sample = entry.sample.bind(entry);
    entry.sample = (iterations) => {
      log.push(`${id} x${iterations}`);
      return sample(iterations);
    };
    return {
      info: { id, version: '1', threads: 1, includes: '' },
      open: async () => entry,
      close: async () => undefined,
    };
  };
  return contestant;
}

test('race: samples are taken in turn, each round another first, all equally often', async (t) => {
  const log: string[] = [];
  const contestant = stage(log);
  const {
    outcomes: [a, b],
  } = await race([contestant('a', { ms: () => 5 }), contestant('b', { ms: () => 10 })], SHAPE, OPTIONS);
  if (a?.status !== 'timed' || b?.status !== 'timed') return t.fail('both are timed');
  t.equal(a.samples.length, b.samples.length, 'pairs');
  t.deepEqual([a.summary.median, b.summary.median], [5, 10]);
  t.equal(a.samples.length, 8, 'until both together had twice timeMs');
  // The first entries are the calibration.
  const order = log
    .filter((line) => line.includes(' x'))
    .slice(2)
    .map((line) => line[0]);
  t.deepEqual(order.slice(0, 6), ['a', 'b', 'b', 'a', 'a', 'b'], 'rotated');
  t.deepEqual(
    log.filter((line) => line.endsWith('disposed')),
    ['a disposed', 'b disposed'],
  );
  t.end();
});

test('race: short calls are repeated until a sample is long enough', async (t) => {
  const contestant = stage();
  const {
    outcomes: [outcome],
  } = await race([contestant('a', { ms: () => 0.01 })], SHAPE, OPTIONS);
  if (outcome?.status !== 'timed') return t.fail('timed');
  t.ok(outcome.iterations >= 500, `${outcome.iterations} calls a sample`);
  t.ok(Math.abs(outcome.summary.median - 0.01) < 1e-9, 'time of one call');
  t.ok(outcome.samples.length >= OPTIONS.minRounds);
  t.end();
});

test('race: first and steady are apart, and warm-up does not count', async (t) => {
  const contestant = stage();
  const {
    outcomes: [outcome],
  } = await race([contestant('a', { ms: (call) => (call === 0 ? 700 : call < 3 ? 50 : 6) })], SHAPE, OPTIONS);
  if (outcome?.status !== 'timed') return t.fail('timed');
  t.equal(outcome.firstMs, 700);
  t.deepEqual([outcome.summary.min, outcome.summary.median, outcome.summary.p90], [6, 6, 6]);
  t.equal(outcome.plan, 'a plan');
  t.end();
});

test('race: the output is poisoned before the verified call', async (t) => {
  const log: string[] = [];
  const contestant = stage(log);
  await race([contestant('a', { ms: () => 5 })], SHAPE, OPTIONS);
  t.deepEqual(log.slice(0, 2), ['a poisoned', 'a poisoned'], 'before the first and the verified call');
  t.end();
});

test('race: a wrong answer is never timed', async (t) => {
  const contestant = stage();
  const { outcomes } = await race(
    [contestant('bad', { ms: () => 1, wrongFrom: 0 }), contestant('good', { ms: () => 5 })],
    SHAPE,
    OPTIONS,
  );
  t.deepEqual(
    outcomes.map(({ id, status }) => `${id} ${status}`),
    ['bad wrong', 'good timed'],
  );
  t.match(outcomes[0]?.status === 'wrong' ? outcomes[0].reason : '', /element \[0, 1, 1\] is 99/);
  t.end();
});

test('race: an answer that turns wrong under repetition is found', async (t) => {
  const contestant = stage();
  const {
    outcomes: [outcome],
  } = await race([contestant('a', { ms: () => 5, wrongFrom: 10 })], SHAPE, OPTIONS);
  t.equal(outcome?.status, 'wrong');
  t.match(outcome?.status === 'wrong' ? outcome.reason : '', /^after \d+ samples/);
  t.end();
});

test('race: the control is timed once in every round', async (t) => {
  const contestant = stage();
  let calls = 0;
  const control = () => ++calls;
  const { outcomes, control: times } = await race([contestant('a', { ms: () => 5 })], SHAPE, {
    ...OPTIONS,
    control,
  });
  const rounds = outcomes[0]?.status === 'timed' ? outcomes[0].samples.length : 0;
  t.deepEqual(
    times,
    Array.from({ length: rounds }, (_, i) => i + 1),
  );
  t.end();
});

test('race: who is too slow is named with one time, who throws with a reason; the others go on', async (t) => {
  const contestant = stage();
  const { outcomes } = await race(
    [
      contestant('slow', { ms: () => 9000 }),
      contestant('throws', { ms: () => 5, throwAt: 6 }),
      contestant('good', { ms: () => 5 }),
    ],
    SHAPE,
    OPTIONS,
  );
  t.deepEqual(
    outcomes.map(({ id, status }) => `${id} ${status}`),
    ['slow slow', 'throws failed', 'good timed'],
  );
  t.end();
});

test('race: an abort ends it and gives everything back', async (t) => {
  const log: string[] = [];
  const contestant = stage(log);
  const controller = new AbortController();
  const options = { ...OPTIONS, signal: controller.signal, onProgress: () => controller.abort() };
  try {
    await race([contestant('a', { ms: () => 5 })], SHAPE, options);
    t.fail('it must reject');
  } catch (error) {
    t.equal((error as Error).name, 'AbortError');
  }
  t.ok(log.includes('a disposed'));
  t.end();
});
