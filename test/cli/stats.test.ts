import test from 'tape';
import { randomSource } from '../../src/cli/bench/operands.ts';
import {
  driftOf,
  effectiveSize,
  holm,
  mannWhitney,
  median,
  pairedRatio,
  quantile,
  summarize,
} from '../../src/cli/bench/stats.ts';

const range = (count: number) => Array.from({ length: count }, (_, i) => i);

test('stats: quantiles and summaries', (t) => {
  t.equal(median([3, 1, 2]), 2);
  t.equal(median([4, 1, 2, 3]), 2.5, 'even count');
  t.equal(quantile([0, 10], 0.1), 1, 'interpolated');
  t.ok(Number.isNaN(median([])), 'of nothing');
  const summary = summarize(range(11).map((i) => 10 + i));
  t.deepEqual([summary.min, summary.p10, summary.median, summary.p90, summary.count], [10, 11, 15, 19, 11]);
  t.equal(summary.spread, 8 / 15, 'spread is (p90 - p10) / median');
  t.end();
});

test('stats: paired ratios do not see what slows both', (t) => {
  const burst = [1, 1, 5, 5, 1, 1, 3, 3];
  t.equal(
    pairedRatio(
      burst,
      burst.map((ms) => 2 * ms),
    ),
    2,
  );
  t.end();
});

test('stats: Mann-Whitney', (t) => {
  // 8 against 8 that do not overlap: U = 0, z = (32 - 0.5) / sqrt(8 * 8 * 17 / 12) = 3.308, p = 0.00094.
  const p = mannWhitney(
    range(8),
    range(8).map((i) => i + 100),
  );
  t.ok(Math.abs(p - 0.00094) < 1e-5, `known value, got ${p}`);
  t.equal(mannWhitney([1, 1, 1], [1, 1, 1]), 1, 'all tied');
  t.equal(mannWhitney([], [1]), 1, 'nothing to test');
  t.ok(
    mannWhitney(
      range(8),
      range(8).map((i) => i + 100),
      [3, 3],
    ) > p,
    'fewer effective samples say less',
  );
  t.end();
});

test('stats: Mann-Whitney errs as often as it says', (t) => {
  const random = randomSource(7);
  const sample = () => Array.from({ length: 20 }, random);
  const alarms = range(2000).filter(() => mannWhitney(sample(), sample()) < 0.05).length;
  t.ok(alarms > 60 && alarms < 130, `${alarms} of 2000 at 5 %`);
  t.end();
});

test('stats: Holm, effective size, drift', (t) => {
  t.deepEqual(holm([0.01, 0.04, 0.03]), [0.03, 0.06, 0.06], 'step-down, monotonic');
  t.deepEqual(holm([]), []);
  const random = randomSource(3);
  t.ok(effectiveSize(Array.from({ length: 40 }, random)) > 20, 'independent samples count nearly in full');
  t.ok(effectiveSize(range(40)) < 8, 'a steady drift counts for little');
  t.equal(driftOf([1, 1, 1, 2, 2, 2]), 2);
  t.equal(driftOf([1, 2]), 1, 'too few to tell');
  t.end();
});
