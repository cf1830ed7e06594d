import test from 'tape';
import { compareReports } from '../../src/cli/bench/compare.ts';
import { randomSource } from '../../src/cli/bench/operands.ts';
import type { BenchCell, BenchReport, BenchRow } from '../../src/cli/bench/report.ts';
import { summarize } from '../../src/cli/bench/stats.ts';
import { parseShape } from '../../src/cli/shapes/index.ts';
import { MACHINE } from './support.ts';

const SHAPES = ['64x64x64', '127x127x127', '256x256x256', '512x512x512', '1x4096x4096'];
const WHO = ['tesserae', 'onnxruntime-web', 'plain-js'];

/** Times as a shared machine gives them: a floor, a skewed few percent, neighbours alike, now and then a spike. */
function noisySamples(random: () => number, ms: number, count: number): readonly number[] {
  let mood = 0;
  return Array.from({ length: count }, () => {
    mood = 0.6 * mood + 0.02 * random();
    const skew = -0.02 * Math.log(1 - random());
    const spike = random() < 0.06 ? 0.3 + random() : 0;
    return ms * (1 + mood + skew + spike);
  });
}

function timed(id: string, samples: readonly number[]): BenchCell {
  return {
    id,
    status: 'timed',
    firstMs: 1,
    iterations: 1,
    samples,
    summary: summarize(samples),
    verified: 'every element',
  };
}

function report(rows: readonly BenchRow[], overrides: Partial<BenchReport> = {}): BenchReport {
  return {
    tool: 'tesserae',
    kind: 'bench',
    schema: 1,
    version: '0.1.0',
    date: '',
    interrupted: false,
    environment: {
      node: 'v20',
      v8: '11',
      platform: 'linux',
      arch: 'x64',
      cpu: 'x',
      cores: 2,
      memoryBytes: 1,
      load: 0,
      execArgv: [],
      caches: [],
    },
    settings: { suite: 'quick', threads: 1, numerics: 'fast', effort: 'measure', timeMs: 400 },
    machine: MACHINE,
    engineFlags: [],
    contestants: [],
    absent: [],
    cold: null,
    rows,
    ...overrides,
  };
}

function row(key: string, cells: readonly BenchCell[], control: readonly number[] = []): BenchRow {
  return { shape: parseShape(key), key, flops: 1, bytes: 1, control, cells };
}

function simulated(seed: number, count: number, slowed: Readonly<Record<string, number>> = {}): BenchReport {
  const random = randomSource(seed);
  return report(
    SHAPES.map((key, i) =>
      row(
        key,
        WHO.map((id) => timed(id, noisySamples(random, (i + 1) * (slowed[`${key}, ${id}`] ?? 1), count))),
      ),
    ),
  );
}

test('compare: twenty times A against A shows no change', (t) => {
  for (let seed = 1; seed <= 20; seed++) {
    const comparison = compareReports(simulated(seed, 12 + 2 * seed), simulated(1000 + seed, 12 + 2 * seed));
    const moved = comparison.rows.filter(({ verdict }) => verdict !== 'same');
    t.notOk(comparison.changed, `seed ${seed}: ${JSON.stringify(moved)}`);
  }
  t.end();
});

test('compare: a planted 15 % slowdown is found, and only that', (t) => {
  for (let seed = 1; seed <= 20; seed++) {
    const planted = { '256x256x256, tesserae': 1.15 };
    const comparison = compareReports(simulated(seed, 30), simulated(1000 + seed, 30, planted));
    const moved = comparison.rows
      .filter(({ verdict }) => verdict !== 'same')
      .map(({ key, id, verdict }) => `${key}, ${id} ${verdict}`);
    t.deepEqual(moved, ['256x256x256, tesserae slower'], `seed ${seed}`);
  }
  t.end();
});

test('compare: a gain is found too, and the smallest effect is a setting', (t) => {
  const planted = { '64x64x64, tesserae': 0.8 };
  const [a, b] = [simulated(1, 20), simulated(2, 20, planted)];
  const found = compareReports(a, b).rows.find(({ key, id }) => key === '64x64x64' && id === 'tesserae');
  t.equal(found?.verdict, 'faster');
  t.ok(Math.abs((found?.ratio ?? 0) - 0.8) < 0.05, `ratio ${found?.ratio}`);
  t.notOk(compareReports(a, b, { minEffect: 0.5 }).changed, '50 % asked for');
  t.end();
});

test('compare: a slower machine is not slower code, and does not hide it', (t) => {
  const run = (seed: number, machine: number, code: number) => {
    const random = randomSource(seed);
    const cell = timed('tesserae', noisySamples(random, machine * code, 30));
    return report([row('256x256x256', [cell], noisySamples(random, 2 * machine, 30))]);
  };
  t.equal(compareReports(run(1, 1, 1), run(2, 1.5, 1)).rows[0]?.verdict, 'same', 'machine 1.5x slower');
  t.equal(compareReports(run(1, 1, 1), run(3, 1.2, 1.3)).rows[0]?.verdict, 'slower', 'both slower');
  t.equal(compareReports(run(1, 1, 1), run(4, 1, 0.8)).rows[0]?.verdict, 'faster', 'only the code faster');
  t.end();
});

test('compare: too few samples are no evidence', (t) => {
  const [a, b] = [
    [1, 1.01, 1.02],
    [2, 2.01, 2.02],
  ].map((samples) => report([row('8x8x8', [timed('tesserae', samples)])]));
  if (!a || !b) return t.end();
  const comparison = compareReports(a, b);
  t.equal(comparison.rows[0]?.verdict, 'too few samples');
  t.notOk(comparison.changed);
  t.end();
});

test('compare: a wrong answer is a change, in both directions', (t) => {
  const right = report([row('8x8x8', [timed('tesserae', [1, 1, 1])])]);
  const wrong = report([row('8x8x8', [{ id: 'tesserae', status: 'wrong', reason: 'planted' }])]);
  t.equal(compareReports(right, wrong).rows[0]?.verdict, 'broken');
  t.ok(compareReports(right, wrong).changed);
  t.equal(compareReports(wrong, right).rows[0]?.verdict, 'mended');
  t.end();
});

test('compare: what is in one report only, and what else differs, is said', (t) => {
  const a = report([row('8x8x8', [timed('tesserae', [1])])]);
  const b = report([row('9x9x9', [timed('tesserae', [1])])], { version: '0.2.0', interrupted: true });
  const comparison = compareReports(a, b);
  t.deepEqual(
    [comparison.rows, comparison.onlyInA, comparison.onlyInB],
    [[], ['8x8x8, tesserae'], ['9x9x9, tesserae']],
  );
  t.deepEqual(comparison.warnings, ['tesserae version differs: 0.1.0 in a, 0.2.0 in b', 'b was interrupted']);
  t.notOk(comparison.changed);
  t.end();
});

test('compare: cold starts are rows as well', (t) => {
  const cold = (ms: number): BenchReport['cold'] => {
    const samples = Array.from({ length: 9 }, (_, i) => ms + ((i * 5) % 9) / 10);
    return {
      library: 'dist',
      outcomes: [{ id: 'tesserae', status: 'timed', samples, summary: summarize(samples) }],
    };
  };
  const [a, b] = [report([], { cold: cold(40) }), report([], { cold: cold(80) })];
  t.equal(compareReports(a, b).rows[0]?.verdict, 'slower');
  t.end();
});
