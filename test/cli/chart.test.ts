import test from 'tape';
import { type Chart, chartOf } from '../../src/cli/bench/chart.ts';
import { renderChart } from '../../src/cli/bench/chart-svg.ts';
import { ALL_KINDS, summarizeKinds } from '../../src/cli/bench/kinds.ts';
import type { BenchCell, BenchReport, BenchRow } from '../../src/cli/bench/report.ts';
import { pairedRatio, summarize } from '../../src/cli/bench/stats.ts';
import { parseShape } from '../../src/cli/shapes/index.ts';

const WHO = ['tesserae', 'onnxruntime-web', 'tfjs-wasm'];

function timed(id: string, ms: number): BenchCell {
  const samples = [ms, 2 * ms, 3 * ms];
  const cell = {
    id,
    status: 'timed',
    firstMs: ms,
    iterations: 1,
    samples,
    summary: summarize(samples),
  } as const;
  return { ...cell, verified: 'every element' };
}

/** Milliseconds of WHO, in their order; undefined where one cannot. */
function row(text: string, times: readonly (number | undefined)[]): BenchRow {
  const shape = parseShape(text);
  const own = [1, 2, 3].map((x) => x * (times[0] ?? 0));
  const cells = WHO.map((id, i): BenchCell => {
    const ms = times[i];
    if (ms === undefined) return { id, status: 'unsupported', reason: 'cannot' };
    const cell = timed(id, ms);
    if (i === 0 || cell.status !== 'timed') return cell;
    return { ...cell, oursFasterBy: pairedRatio(own, cell.samples) };
  });
  return { shape, key: text, flops: 1, bytes: 1, control: [], cells };
}

const ROWS = [
  row('conv 1x8x8x8 8 3x3 s1 p1', [1, 2, 4]),
  row('conv 1x16x8x8 16 3x3 s1 p1', [1, 8, 16 / 9]),
  row('conv 1x8x8x8 8 1x1 s1 p0', [2, 1, 4]),
  row('conv 1x8x8x8 8 3x3 s1 p1 g8', [1, 4, undefined]),
  row('conv 1x8x8x8 8 5x5 s1 p2', [1, undefined, 1]),
];

function reportOf(rows: readonly BenchRow[]): BenchReport {
  return {
    date: '2026-01-02T03:04:05Z',
    settings: { threads: 1, suite: 'conv' },
    environment: { node: 'v24.1.0', cpu: 'Chip <7> & "co"' },
    engineFlags: [],
    contestants: WHO.map((id) => ({ id, version: '1', threads: 1, includes: '' })),
    rows,
  } as unknown as BenchReport;
}

function chartOfRows(rows: readonly BenchRow[] = ROWS): Chart {
  return chartOf(reportOf(rows), { baseline: 'onnxruntime-web' });
}

test('kinds: geometric means and the worst layer', (t) => {
  const kinds = summarizeKinds(ROWS);
  t.deepEqual(
    kinds.map(({ kind, layers }) => [kind, layers]),
    [
      ['3x3, stride 1', 2],
      ['1x1', 1],
      ['depthwise', 1],
      ['other', 1],
      [ALL_KINDS, 5],
    ],
  );
  const dense = kinds[0]?.over.find(({ id }) => id === 'onnxruntime-web');
  t.ok(Math.abs((dense?.geomean ?? 0) - 4) < 1e-9, '2x and 8x are 4x');
  t.deepEqual([dense?.min, dense?.minKey], [2, 'conv 1x8x8x8 8 3x3 s1 p1']);
  const all = kinds.at(-1)?.over.find(({ id }) => id === 'onnxruntime-web');
  t.equal(all?.layers, 4, 'a layer that the peer cannot do is no layer of its mean');
  t.equal(all?.min, 0.5);
  t.deepEqual(summarizeKinds([row('8x8x8', [1, 2, 3])]), [], 'only for convolutions');
  t.end();
});

test('chart: speeds over the baseline, by kind', (t) => {
  const chart = chartOfRows();
  t.deepEqual(chart.series, ['tesserae', 'tfjs-wasm']);
  t.deepEqual(
    chart.groups.map(({ name, count }) => [name, count]),
    [
      ['3x3, stride 1', 2],
      ['1x1', 1],
      ['depthwise', 1],
      [ALL_KINDS, 4],
    ],
  );
  const [dense, pointwise, depthwise] = chart.groups;
  t.deepEqual(
    dense?.bars.map(({ speed }) => Math.round(speed * 1e6) / 1e6),
    [4, 1.5],
  );
  t.deepEqual(
    pointwise?.bars.map(({ speed }) => speed),
    [0.5, 0.25],
    'below 1 where the baseline is faster',
  );
  t.deepEqual(
    depthwise?.bars.map(({ id }) => id),
    ['tesserae'],
    'who cannot has no bar',
  );
  t.match(chart.title, /^Convolution layers: .* onnxruntime-web$/);
  t.equal(chart.subtitle, 'one thread, Node 24.1.0, Chip <7> & "co", 2026-01-02');
  t.end();
});

/** Attributes of every element of a kind and class, as numbers where they are. */
function elements(svg: string, tag: string, kind: string): readonly Readonly<Record<string, number>>[] {
  return [...svg.matchAll(new RegExp(`<${tag} class="${kind}"([^>]*)>`, 'g'))].map(([, attributes = '']) =>
    Object.fromEntries(
      [...attributes.matchAll(/(\w+)="([^"]*)"/g)].map(([, key, value]) => [key, Number(value)]),
    ),
  );
}

/** The tags left open, or the first that closes another one. */
function unclosed(svg: string): string {
  const open: string[] = [];
  for (const [tag, slash, name = '', end] of svg.matchAll(/<(\/?)([a-z]+)[^>]*?(\/?)>/g)) {
    if (slash === '' && end === '') open.push(name);
    else if (slash === '/' && open.pop() !== name) return tag;
  }
  return open.join(' ');
}

test('chart: the picture', (t) => {
  const svg = renderChart(chartOfRows());
  const one = elements(svg, 'line', 'one')[0]?.x1 ?? Number.NaN;
  const [dense, pointwise] = elements(svg, 'rect', 's0').slice(1);
  t.equal(dense?.x, one, 'a faster one begins at 1x');
  t.ok(Math.abs((pointwise?.x ?? 0) + (pointwise?.width ?? 0) - one) < 0.2, 'a slower one ends there');
  t.ok(
    Math.abs((dense?.width ?? 0) - 2 * (pointwise?.width ?? 0)) < 0.3,
    '4x is twice as long as 1/2: logarithmic',
  );
  t.equal(elements(svg, 'circle', 'dot').length, 1 + 4, 'the legend and each layer once');
  const [width = 0, height = 0] = /viewBox="0 0 (\d+) (\d+)"/.exec(svg)?.slice(1).map(Number) ?? [];
  for (const { x = 0, y = 0, width: w = 0, height: h = 0 } of [
    ...elements(svg, 'rect', 's0'),
    ...elements(svg, 'rect', 's1'),
  ])
    if (!(x >= 0 && y >= 0 && x + w <= width && y + h <= height)) t.fail(`a bar at ${x}, ${y} is outside`);
  for (const text of [
    '0.25x',
    '1x',
    '8x',
    '3x3, stride 1',
    '2 layers',
    '4.00x',
    'tfjs-wasm',
    'onnxruntime-web = 1x',
  ])
    t.ok(svg.includes(`>${text}<`), `it says ${text}`);
  t.match(
    svg,
    /@media\(prefers-color-scheme:dark\)\{\.ground\{fill:#0d1117\}/,
    'dark mode has a ground of its own',
  );
  t.match(svg, /<title id="title">Convolution layers/, 'a title for those who cannot see it');
  t.ok(svg.includes('Chip &lt;7&gt; &amp; &quot;co&quot;') && !svg.includes('<7>'), 'text is escaped');
  t.equal(unclosed(svg), '', 'tags are closed');
  t.end();
});

test('chart: speeds beyond the axis stay inside the picture', (t) => {
  const svg = renderChart(chartOfRows([row('conv 1x8x8x8 8 3x3 s1 p1', [1, 1e6, 1e-6])]));
  const [bar] = elements(svg, 'rect', 's0').slice(1);
  t.ok((bar?.x ?? 0) + (bar?.width ?? 0) <= 770, 'a bar ends at the end of the axis');
  t.ok(svg.includes('>1000000x<'), 'its figure is the true one');
  t.end();
});
