/** The measuring core on a fake clock: planted candidates, planted noise, so that the right answer is known. */
import test from 'tape';
import type { Clock } from '../../src/core/clock.ts';
import { randomFrom } from '../../src/core/random.ts';
import {
  calibrate,
  calibrateSync,
  pickWinner,
  type RaceCandidate,
  type RaceOptions,
  type RaceResult,
  race,
  raceSync,
} from '../../src/tune/measure.ts';
import { mad, median, min, pairedRatioMedian, quantile } from '../../src/tune/stats.ts';
import { SEED } from '../support/seed.ts';

class FakeClock implements Clock {
  time = 1000;
  /** Steps of the visible time, as browsers coarsen it. */
  readonly grain: number;

  constructor(grain = 0) {
    this.grain = grain;
  }

  now(): number {
    return this.grain > 0 ? Math.floor(this.time / this.grain) * this.grain : this.time;
  }
}

/**
 * What a shared machine does to times: 2 % jitter on each run, now and then a run disturbed by up to 60 %, and
 * a drift of 20 % as the clock frequency wanders.
 */
function noiseOf(clock: FakeClock, seed: number): () => number {
  const next = randomFrom(seed);
  return () => {
    const jitter = 1 + 0.02 * (next() + next() + next() - 1.5);
    const disturbed = next() < 0.05 ? 1 + 0.6 * next() : 1;
    return jitter * disturbed * (1 + 0.1 * Math.sin(clock.time / 300));
  };
}

interface Planted extends RaceCandidate {
  readonly ms: number;
  /** Runs done. */
  runs: number;
}

function planted(id: string, ms: number, clock: FakeClock, noise = () => 1): Planted {
  const candidate: Planted = {
    id,
    ms,
    runs: 0,
    run: (iterations) => {
      candidate.runs += iterations;
      clock.time += iterations * ms * noise();
    },
  };
  return candidate;
}

function options(clock: Clock, more: Partial<RaceOptions> = {}): RaceOptions {
  return { clock, budgetMs: 60_000, ...more };
}

function resultOf(results: readonly RaceResult[], id: string): RaceResult {
  const result = results.find((one) => one.id === id);
  if (result === undefined) throw new Error(`no result of ${id}`);
  return result;
}

async function thrownBy(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => undefined,
    (error: unknown) => error,
  );
}

// ---- stats --------------------------------------------------------------------------------------------------

test('stats: worked examples', (t) => {
  t.equal(min([3, 1, 2]), 1);
  t.equal(median([3, 1, 2]), 2);
  t.equal(median([4, 1, 2, 3]), 2.5);
  t.equal(quantile([10, 20, 30, 40, 50], 0.25), 20);
  t.equal(quantile([10, 20], 0.75), 17.5);
  t.equal(quantile([7], 1), 7);
  t.equal(mad([1, 1, 2, 2, 4, 6, 9]), 1, 'the example of the English Wikipedia');
  t.equal(pairedRatioMedian([2, 4, 9], [1, 2, 3]), 2);
  t.equal(pairedRatioMedian([2, 4, 9, 100], [1, 2, 3]), 2, 'unpaired values do not count');
  const values = [3, 1, 2];
  median(values);
  t.deepEqual(values, [3, 1, 2], 'the argument is left as it was');
  t.ok([min([]), median([]), mad([]), quantile([], 0.9)].every(Number.isNaN), 'nothing gives NaN');
  t.end();
});

// ---- calibrate ----------------------------------------------------------------------------------------------

test('calibrate: doubles until the sample is long enough', async (t) => {
  for (const grain of [0, 1]) {
    for (const ms of [0.001, 0.3, 4.9, 5, 400]) {
      const clock = new FakeClock(grain);
      const asked: number[] = [];
      const run = (iterations: number) => {
        asked.push(iterations);
        clock.time += iterations * ms;
      };
      const { iterations, ms: found } = await calibrate(run, clock, { minSampleMs: 5 });
      t.deepEqual(
        asked,
        asked.map((_, i) => 2 ** i),
        `${ms} ms, clock grain ${grain}: ${asked.length} steps`,
      );
      t.ok(
        iterations * ms >= 5 - grain && (iterations === 1 || iterations * ms <= 10 + 2 * grain),
        'long enough',
      );
      t.ok(Math.abs(found - ms) <= (ms * grain) / 5 + 1e-9, `found ${found}`);
    }
  }
  const clock = new FakeClock();
  t.equal(calibrateSync(planted('x', 1, clock).run, clock).iterations, 8, 'the synchronous one as well');
  t.end();
});

test('calibrate: clocks that misbehave', async (t) => {
  const clock = new FakeClock();
  const backwards = (times: number) => (iterations: number) => {
    clock.time += times-- > 0 ? -100 : iterations;
  };
  t.equal((await calibrate(backwards(3), clock)).ms, 1, 'set back three times: measured again');
  const error = await thrownBy(calibrate(backwards(Number.POSITIVE_INFINITY), clock));
  t.match(String(error), /backwards.*E_ENGINE/, 'always: an error');
  const { iterations } = await calibrate(() => {}, clock);
  t.ok(iterations <= 2 ** 20, 'a stopped clock ends it too');
  t.end();
});

// ---- race ---------------------------------------------------------------------------------------------------

test('race: the planted winner under noise', async (t) => {
  t.comment(`seed ${SEED}`);
  const missed: string[] = [];
  for (let trial = 0; trial < 60; trial++) {
    const clock = new FakeClock();
    const noise = noiseOf(clock, SEED + trial);
    const next = randomFrom(SEED - trial);
    const scale = 10 ** (4 * next() - 3);
    const field = Array.from({ length: 24 }, (_, i) =>
      planted(`c${i}`, scale * (1 + 2 * next()), clock, noise),
    );
    const place = 1 + Math.floor(next() * 23);
    field[place] = planted('fast', scale * 0.85, clock, noise);
    const results = await race(field, options(clock));
    const winner = pickWinner(results, { defaultId: 'c0' });
    if (winner?.result.id !== 'fast') missed.push(`trial ${trial}: ${winner?.result.id} (${winner?.reason})`);
  }
  t.deepEqual(missed, [], '60 races of 24, the winner 15 % ahead');
  t.end();
});

test('race: the default is kept inside the noise', async (t) => {
  t.comment(`seed ${SEED}`);
  let kept = 0;
  for (let trial = 0; trial < 60; trial++) {
    const clock = new FakeClock();
    const noise = noiseOf(clock, SEED + trial);
    const field = Array.from({ length: 12 }, (_, i) => planted(`c${i}`, 1, clock, noise));
    if (pickWinner(await race(field, options(clock)), { defaultId: 'c0' })?.result.id === 'c0') kept++;
  }
  t.ok(kept >= 54, `${kept} of 60 races of twelve equals end with the default`);
  t.end();
});

test('race: never more than 3 % slower than the default', async (t) => {
  t.comment(`seed ${SEED}`);
  let worst = 0;
  for (let trial = 0; trial < 150; trial++) {
    const clock = new FakeClock();
    const noise = noiseOf(clock, SEED + trial);
    const next = randomFrom(SEED - trial);
    const count = 2 + Math.floor(next() * 20);
    const spread = next() < 0.5 ? 0.1 : 1;
    const field = Array.from({ length: count }, (_, i) =>
      planted(`c${i}`, 1 + spread * next(), clock, noise),
    );
    const budgetMs = 10 ** (1 + 3 * next());
    const results = await race(field, options(clock, { budgetMs }));
    const winner = field.find(({ id }) => id === pickWinner(results, { defaultId: 'c0' })?.result.id);
    worst = Math.max(worst, (winner?.ms ?? Number.POSITIVE_INFINITY) / (field[0]?.ms ?? 0) - 1);
  }
  t.ok(worst <= 0.03, `150 races, budgets of 10 ms to 10 s: at worst ${(worst * 100).toFixed(1)} % slower`);
  t.end();
});

test('race: the budget', async (t) => {
  for (const budgetMs of [0, 1, 20, 100, 500, 3000]) {
    for (const ms of [0.01, 3, 200]) {
      const clock = new FakeClock();
      const field = Array.from({ length: 10 }, (_, i) => planted(`c${i}`, ms * (1 + i / 100), clock));
      const start = clock.time;
      const results = await race(field, options(clock, { budgetMs }));
      const spent = clock.time - start;
      // Owed to the default whatever the budget: a warm-up of 10 ms to its last doubling and one sample of 5 ms.
      const owed = ms >= 10 ? 2 * ms : 35;
      const longest = Math.max(ms * 1.1, 20);
      t.ok(
        spent <= Math.max(owed, budgetMs + longest),
        `budget ${budgetMs}, runs of ${ms}: ${spent.toFixed(1)} ms`,
      );
      t.ok((results[0]?.samples.length ?? 0) >= 1, 'the default was sampled');
      const isTold = results.every(({ samples, stopped }) => samples.length === 8 || stopped !== undefined);
      t.ok(isTold, 'whoever has fewer samples says why');
      t.ok(pickWinner(results, { defaultId: 'c0' }), 'and there is an answer');
    }
  }
  t.end();
});

test('race: only so many candidates join as can be compared in the budget', async (t) => {
  for (const ms of [0.1, 10, 100]) {
    const clock = new FakeClock();
    const field = Array.from({ length: 30 }, (_, i) => planted(`c${i}`, ms, clock));
    const results = await race(field, options(clock, { budgetMs: ms < 100 ? 600 : 1500 }));
    const counts = results.map(({ samples }) => samples.length).filter((count) => count > 0);
    const finals = results.filter(({ samples, stopped }) => samples.length > 0 && stopped !== 'halved');
    t.ok(counts.length > 1 && counts.length < 30, `runs of ${ms} ms: ${counts.length} of 30 joined`);
    t.ok(
      finals.every(({ samples }) => samples.length >= 3),
      'with three pairs of the finalists at the least',
    );
  }
  t.end();
});

test('race: hopeless and halved candidates stop early', async (t) => {
  const clock = new FakeClock();
  const field = [1, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 2, 2.2, 3, 4, 200].map((ms) =>
    planted(`x${ms}`, ms, clock),
  );
  const results = await race(field, options(clock));
  const counts = Object.fromEntries(
    results.map(({ id, samples, stopped }) => [id, [samples.length, stopped]]),
  );
  t.deepEqual(counts.x200, [0, 'hopeless'], 'far too slow: out after its warm-up');
  t.equal(field[13]?.runs, 1, 'which was a single run');
  t.deepEqual(counts.x3, [1, 'hopeless'], 'three times the leader: out after one sample');
  t.deepEqual(counts['x2.2'], [2, 'halved'], 'of ten rivals the worse five leave after round two');
  t.deepEqual(counts['x1.5'], [3, 'halved'], 'of five the worse two after round three');
  for (const id of ['x1', 'x1.1', 'x1.2', 'x1.3']) t.deepEqual(counts[id], [8, undefined], `${id} stays`);
  const late = await race([planted('slow', 50, clock), planted('fast', 1, clock)], options(clock));
  t.equal(
    resultOf(late, 'slow').samples.length,
    8,
    'a default is never hopeless: the decision needs its pairs',
  );
  const all = await race(field, options(clock, { halve: false, hopelessFactor: Number.POSITIVE_INFINITY }));
  t.ok(
    all.every(({ samples }) => samples.length === 8),
    'neither, if not wanted',
  );
  t.end();
});

test('race: samples are interleaved, warm-up and tier-up do not count', async (t) => {
  const clock = new FakeClock();
  const order: string[] = [];
  const field = ['a', 'b', 'c'].map((id): RaceCandidate => {
    let runs = 0;
    return {
      id,
      run: (iterations) => {
        order.push(id);
        // The first 9 ms run in the slow tier.
        for (let i = 0; i < iterations; i++) clock.time += runs++ < 3 ? 3 : 1;
      },
    };
  });
  const results = await race(field, options(clock, { rounds: 3 }));
  t.ok(
    results.every(({ samples }) => samples.every((ms) => ms === 1)),
    'no sample of the slow tier',
  );
  t.equal(order.slice(-9).join(''), 'abccbabca', 'round robin, there and back, then one further on');
  t.end();
});

test('race: code that gets faster during the race is sampled longer', async (t) => {
  const clock = new FakeClock();
  let runs = 0;
  const asked: number[] = [];
  const tiers: RaceCandidate = {
    id: 'tiers',
    run: (iterations) => {
      asked.push(iterations);
      for (let i = 0; i < iterations; i++) clock.time += runs++ < 25 ? 1 : 0.05;
    },
  };
  const steady = planted('steady', 1, clock);
  const results = await race([steady, tiers], options(clock));
  t.equal(resultOf(results, 'tiers').min.toFixed(6), '0.050000');
  t.equal(pickWinner(results, { defaultId: 'steady' })?.result.id, 'tiers');
  t.ok(runs > 25 + 6 * (5 / 0.05) * 0.7, 'with samples of full length');
  t.equal(new Set(asked.slice(-5)).size, 1, 'found once and then kept');
  t.end();
});

test('race: wrong answers and throws are results', async (t) => {
  const clock = new FakeClock();
  const good = planted('good', 10, clock);
  const make = (id: string, change: Partial<RaceCandidate>) => ({ ...planted(id, 1, clock), ...change });
  let calls = 0;
  const field = [
    good,
    make('wrong', { verify: () => 'element 3 is 1, not 2' }),
    make('wrong later', { verify: async () => 'found asynchronously' }),
    make('right', { verify: async () => undefined }),
    make('throws in verify', {
      verify: () => {
        throw new Error('trap in verify');
      },
    }),
    make('throws', {
      run: () => {
        throw new Error('unreachable executed');
      },
    }),
    make('rejects', { run: () => Promise.reject(new Error('worker died')) }),
    make('throws no error', {
      run: () => {
        throw 'a string';
      },
    }),
    make('throws in the race', {
      run: (iterations) => {
        if (++calls > 5) throw new Error('late');
        clock.time += iterations;
      },
    }),
  ];
  const results = await race(field, options(clock));
  const reasons = Object.fromEntries(results.map(({ id, rejected }) => [id, rejected]));
  t.deepEqual(reasons, {
    good: undefined,
    wrong: 'element 3 is 1, not 2',
    'wrong later': 'found asynchronously',
    right: undefined,
    'throws in verify': 'trap in verify',
    throws: 'unreachable executed',
    rejects: 'worker died',
    'throws no error': 'a string',
    'throws in the race': 'late',
  });
  t.equal(resultOf(results, 'wrong').samples.length, 0, 'a wrong one is never timed');
  t.equal(pickWinner(results, { defaultId: 'good' })?.result.id, 'right');
  const failing = [make('d', { verify: () => 'wrong' }), planted('x', 3, clock), planted('y', 2, clock)];
  const winner = pickWinner(await race(failing, options(clock)), { defaultId: 'd' });
  t.equal(winner?.result.id, 'y', 'the default is wrong: the fastest of the others');
  const broke = await race(failing, options(clock, { budgetMs: 0 }));
  t.equal(pickWinner(broke, { defaultId: 'd' })?.result.id, 'x', 'even without a budget there is an answer');
  t.equal(
    pickWinner(await race([make('d', { verify: () => 'no' })], options(clock)), { defaultId: 'd' }),
    undefined,
  );
  t.deepEqual(await race([], options(clock)), [], 'no candidates, no results');
  t.end();
});

test('race: abort', async (t) => {
  const clock = new FakeClock();
  const before = new AbortController();
  before.abort(new Error('not even begun'));
  const idle = planted('idle', 1, clock);
  const early = await thrownBy(race([idle], options(clock, { signal: before.signal })));
  t.match(String(early), /not even begun/);
  t.equal(idle.runs, 0, 'nothing ran');
  for (const stopAt of [1, 5, 30]) {
    const stop = new AbortController();
    let calls = 0;
    const field = ['a', 'b', 'c'].map(
      (id): RaceCandidate => ({
        id,
        run: (iterations) => {
          clock.time += iterations * 20;
          if (++calls === stopAt) stop.abort(new Error('enough'));
          // As work does that heeds the signal itself: its error must not pass for a failed candidate.
          if (stop.signal.aborted) throw new Error('interrupted');
        },
      }),
    );
    const error = await thrownBy(race(field, options(clock, { signal: stop.signal, rounds: 99 })));
    t.match(String(error), /enough/, `aborted in call ${stopAt}: the signal's own reason`);
    t.equal(calls, stopAt, 'and no further call');
  }
  const last = new AbortController();
  let calls = 0;
  const brief: RaceCandidate = {
    id: 'brief',
    run: (iterations) => {
      clock.time += iterations * 6;
      // Two calls warm up, the third is the only sample.
      if (++calls === 3) last.abort(new Error('at the very end'));
    },
  };
  const tooLate = await thrownBy(race([brief], options(clock, { signal: last.signal, rounds: 1 })));
  t.match(String(tooLate), /at the very end/, 'an abort in the last run still rejects');
  const plain = new AbortController();
  setTimeout(() => plain.abort(), 5);
  const endless = planted('endless', 1, clock);
  const error = await thrownBy(
    race([endless], options(clock, { signal: plain.signal, rounds: 1e9, budgetMs: 1e12 })),
  );
  t.equal(
    (error as Error).name,
    'AbortError',
    'the event loop turns, so a timer can abort a race of pure computation',
  );
  t.end();
});

test('race: asynchronous candidates, the synchronous race, progress', async (t) => {
  const clock = new FakeClock();
  const field = [3, 1, 2].map(
    (ms): RaceCandidate => ({
      id: `p${ms}`,
      run: async (iterations) => {
        await Promise.resolve();
        clock.time += iterations * ms;
      },
    }),
  );
  const seen: number[] = [];
  let total = 0;
  const results = await race(
    field,
    options(clock, {
      onProgress: (progress) => {
        seen.push(progress.done);
        total = progress.total;
      },
    }),
  );
  t.deepEqual(
    results.map((result) => result.min),
    [3, 1, 2],
    'the time of the promise counts, results in order',
  );
  t.deepEqual(
    seen,
    Array.from({ length: total }, (_, i) => i + 1),
    'progress rises by one to the total',
  );
  const sync = raceSync([planted('a', 2, clock), planted('b', 1, clock)], options(clock));
  t.equal(pickWinner(sync, { defaultId: 'a' })?.result.id, 'b', 'raceSync decides likewise');
  t.throws(() => raceSync(field, options(clock)), /E_ARGUMENT/, 'and refuses promises');
  t.end();
});

// ---- decision -----------------------------------------------------------------------------------------------

function of(id: string, samples: readonly number[], more: Partial<RaceResult> = {}): RaceResult {
  return { id, samples, min: min(samples), median: median(samples), ...more };
}

test('pickWinner: by the numbers', (t) => {
  const pick = (...results: RaceResult[]) => pickWinner(results, { defaultId: 'd', noise: 0.02 })?.result.id;
  const d = of('d', [100, 100, 100, 100]);
  t.equal(pick(d, of('a', [99, 99, 99, 99])), 'd', '1 % is within the noise');
  t.equal(pick(d, of('a', [95, 95, 95, 95])), 'a', '5 % is not');
  t.equal(pick(d, of('a', [95, 95, 95, 95]), of('b', [90, 90, 90, 90])), 'b', 'the best of those');
  t.equal(pick(d, of('a', [90, 99, 99, 99])), 'd', 'one quick sample does not win');
  t.equal(pick(d, of('a', [60, 130, 70, 120])), 'd', 'a lucky minimum does not win');
  t.equal(
    pick(of('d', [100, 150, 150, 150]), of('a', [101, 101, 101, 101])),
    'd',
    'nor does a disturbed default lose',
  );
  const drifting = [of('d', [100, 150, 200, 250]), of('a', [90, 135, 180, 225])];
  t.equal(pick(...drifting), 'a', 'a drift of the machine cancels out in pairs');
  t.equal(pick(of('d', [100, 100]), of('a', [60, 60])), 'd', 'two pairs may be a disturbance');
  t.equal(pick(of('d', [100]), of('a', [40])), 'a', 'unless the gain is huge');
  t.equal(pick(d, of('a', [50, 50, 50], { stopped: 'halved' })), 'd', 'who was dropped cannot win');
  t.equal(pick(d, of('a', [50, 50, 50], { rejected: 'wrong' })), 'd', 'nor who was wrong');
  t.equal(pick(d, of('a', [50, 50, 50], { stopped: 'budget' })), 'a', 'who ran out of budget can');
  t.equal(pick(of('d', [], { stopped: 'budget' })), undefined, 'nothing measured, nothing chosen');
  t.end();
});
