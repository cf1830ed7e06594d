/** Steps that threads share: there are enough of them, and each element belongs to one. */
import test from 'tape';
import type { Plan } from '../../src/plan/plan.ts';
import type { Step } from '../../src/plan/program.ts';
import type { LinesProblem } from '../../src/problem/lines.ts';
import { mapProblem } from '../../src/problem/map.ts';
import { moveProblem } from '../../src/problem/move.ts';
import type { Problem } from '../../src/problem/problem.ts';
import { windowOf } from '../../src/problem/window.ts';
import { lower } from '../../src/schedule/lower/lower.ts';
import { PLAN } from '../support/executions.ts';

const FIXED: Plan = { ...PLAN, algorithm: 'fixed', packing: 'none', nc: 32 * 1024 };

function lines(kind: LinesProblem['kind'], outer: number, size: number, inner: number): LinesProblem {
  return {
    op: 'lines',
    dtype: 'f32',
    kind,
    outer,
    size,
    inner,
    scale: 'none',
    bias: 'none',
    channels: 1,
    exact: false,
  };
}

const window = windowOf({ height: 40, width: 40 }, { kH: 2, kW: 2 }, { stride: 2, padding: 0 });

/** A problem and the extents that its steps cut: (n0, cols), (m0, rows), (k0, ks). */
const CASES: readonly { name: string; p: Problem; extents: readonly [number, number, number] }[] = [
  {
    name: 'rows of a map',
    p: mapProblem(
      'mul',
      [
        [88, 288],
        [88, 1],
      ],
      [88, 288],
      false,
    ),
    extents: [88, 0, 288],
  },
  { name: 'a map of one row', p: mapProblem('neg', [[30011]], [30011], false), extents: [1, 0, 30011] },
  { name: 'lines', p: lines('softmax', 320, 40, 1), extents: [320, 0, 1] },
  { name: 'lines across memory', p: lines('softmax', 1, 80, 484), extents: [1, 0, 484] },
  { name: 'lines of planes', p: lines('mean', 3, 50, 200), extents: [3, 0, 200] },
  { name: 'runs that are moved', p: moveProblem([50, 600], [700, 1], [600, 1]), extents: [50, 0, 600] },
  { name: 'a plane that is turned', p: moveProblem([150, 203], [1, 150], [203, 1]), extents: [1, 150, 203] },
  {
    name: 'planes that are turned',
    p: moveProblem([90, 18, 20], [360, 1, 18], [360, 20, 1]),
    extents: [90, 18, 20],
  },
  {
    name: 'parts by a list',
    p: { op: 'take', dtype: 'f32', outer: 24, size: 40, inner: 20, count: 80 },
    extents: [24, 0, 80],
  },
  {
    name: 'pooling',
    p: {
      op: 'pool',
      dtype: 'f32',
      kind: 'max',
      layout: 'nchw',
      batch: 1,
      channels: 61,
      countPadding: false,
      exact: false,
      ...window,
    },
    extents: [20, 0, 61],
  },
];

/** How often each place is in a step: once, or what is wrong. */
function coverage(steps: readonly Step[], [n, m, k]: readonly [number, number, number]): string | undefined {
  const [high, deep] = [Math.max(1, m), Math.max(1, k)];
  const seen = new Uint8Array(n * high * deep);
  for (const { n0, cols, m0, rows, k0, ks } of steps)
    for (let x = n0; x < n0 + cols; x++)
      for (let y = m0; y < m0 + (m ? rows : 1); y++)
        for (let z = k0; z < k0 + ks; z++) seen[(x * high + y) * deep + z]!++;
  const wrong = seen.findIndex((times) => times !== 1);
  return wrong < 0 ? undefined : `place ${wrong} ${seen[wrong]} times`;
}

test('shared steps: elements, lines and moves', (t) => {
  for (const { name, p, extents } of CASES) {
    const counts = [1, 2, 3, 8].map((threads) => {
      const { steps } = lower(p, { ...FIXED, threads });
      t.equal(coverage(steps, extents), undefined, `${name}, ${threads} threads: each place once`);
      return steps.length;
    });
    t.ok(counts[1]! > counts[0]! && counts[3]! >= 3, `${name}: ${counts.join(', ')} steps`);
  }
  t.end();
});

test('shared steps: whole rows and planes, where there are enough of them', (t) => {
  const steps = (name: string) =>
    lower(CASES.find((one) => one.name === name)!.p, { ...FIXED, threads: 2 }).steps;
  for (const [name, inner] of [
    ['rows of a map', 288],
    ['runs that are moved', 600],
    ['parts by a list', 80],
  ] as const)
    t.ok(
      steps(name).every(({ ks }) => ks === inner),
      name,
    );
  t.ok(
    steps('planes that are turned').every(({ rows }) => rows === 18),
    'planes that are turned',
  );
  t.end();
});

test('shared steps: what takes a microsecond is not shared', (t) => {
  const p = mapProblem('neg', [[40, 30]], [40, 30], false);
  t.equal(lower(p, { ...FIXED, threads: 8 }).steps.length, 1);
  t.end();
});
