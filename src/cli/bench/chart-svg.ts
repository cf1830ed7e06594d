/**
 * The picture of a chart as SVG. Written here because the libraries that draw such a picture without a browser (Vega-Lite,
 * Observable Plot or D3 on a made-up DOM) bring megabytes for what is some sixty rectangles and circles, and the small ones
 * want a DOM or a canvas.
 *
 * A bar for each contestant and kind of shape starts at 1x, the baseline, and goes right where it is faster; the axis is
 * logarithmic, so that twice as fast is as long as half as fast. Circles are single shapes of the first contestant. Colours
 * follow the reader's light or dark mode, on a ground of their own so that a page of the other mode does no harm.
 */
import { formatRatio } from '../format.ts';
import type { Chart, ChartBar, ChartGroup } from './chart.ts';
import { ALL_KINDS, INT8_PRODUCT, MATRIX_PRODUCT } from './kinds.ts';

const WIDTH = 860;
/** Left of the axis: the group's name; right of it: the figures. */
const PLOT = { left: 150, right: 770 } as const;
const PLOT_TOP = 118;
const BAR = { height: 13, gap: 3 } as const;
const GROUP_GAP = 16;
const FOOT = 56;
/** The axis never ends closer to 1x than this, in doublings, nor farther away than that; what lies beyond is drawn at its end. */
const SPAN = { least: 1, most: 6 } as const;

interface Theme {
  readonly ground: string;
  readonly text: string;
  readonly muted: string;
  readonly grid: string;
  /** Apart in lightness too, for the colour-blind and for print. */
  readonly series: readonly string[];
}

const LIGHT: Theme = {
  ground: '#ffffff',
  text: '#1f2328',
  muted: '#59636e',
  grid: '#d8dee4',
  series: ['#0a5fc4', '#e0a43a', '#a0a8b2', '#4a9d6b', '#a57cc7'],
};
const DARK: Theme = {
  ground: '#0d1117',
  text: '#f0f6fc',
  muted: '#9aa4af',
  grid: '#30363d',
  series: ['#58a6ff', '#c48a1c', '#5d6670', '#3f8a5c', '#8d66ad'],
};

interface Axis {
  /** In doublings from 1x. */
  readonly from: number;
  readonly to: number;
  x(speed: number): number;
}

export function renderChart(chart: Chart): string {
  const axis = axisOf(chart);
  const heights = chart.groups.map(({ bars }) => bars.length * (BAR.height + BAR.gap) + GROUP_GAP);
  const bottom = PLOT_TOP + heights.reduce((sum, height) => sum + height, 0);
  const height = bottom + FOOT;
  let top = PLOT_TOP;
  const groups = chart.groups.map((group, index) => {
    const drawn = renderGroup(group, chart, axis, top + GROUP_GAP / 2);
    top += heights[index] ?? 0;
    return drawn;
  });
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-labelledby="title desc">`,
    `<title id="title">${escapeXml(chart.title)}</title>`,
    `<desc id="desc">${escapeXml(describe(chart))}</desc>`,
    `<style>${styles(chart.series.length)}</style>`,
    `<rect class="ground" width="${WIDTH}" height="${height}" rx="6"/>`,
    text(24, 34, 'title', chart.title),
    text(24, 56, 'muted', chart.subtitle),
    ...renderLegend(chart),
    ...renderAxis(axis, chart, bottom),
    ...groups.flat(),
    '</svg>',
  ].join('\n')}\n`;
}

/** What one who cannot see the picture should know. */
function describe({ groups, baseline }: Chart): string {
  return groups
    .map(({ name, count, bars }) => {
      const figures = bars.map(({ id, speed }) => `${id} ${formatRatio(speed)}`).join(', ');
      return `${name} (${count}): ${figures} the speed of ${baseline}.`;
    })
    .join(' ');
}

function axisOf({ groups, series }: Chart): Axis {
  const doublings = groups.flatMap(({ bars }) =>
    bars.flatMap(({ id, speed, points }) => [
      Math.log2(speed),
      ...(id === series[0] ? points.map((point) => Math.log2(point.speed)) : []),
    ]),
  );
  const to = Math.min(SPAN.most, Math.max(SPAN.least, Math.ceil(Math.max(...doublings, 0))));
  const from = Math.max(-SPAN.most, Math.min(-SPAN.least, Math.floor(Math.min(...doublings, 0))));
  const scale = (PLOT.right - PLOT.left - 50) / (to - from);
  const x = (speed: number) => PLOT.left + (Math.min(to, Math.max(from, Math.log2(speed))) - from) * scale;
  return { from, to, x };
}

function renderAxis(axis: Axis, { baseline }: Chart, bottom: number): readonly string[] {
  const lines: string[] = [];
  for (let doubling = axis.from; doubling <= axis.to; doubling++) {
    const x = axis.x(2 ** doubling);
    const kind = doubling === 0 ? 'one' : 'grid';
    lines.push(
      `<line class="${kind}" x1="${fixed(x)}" y1="${PLOT_TOP}" x2="${fixed(x)}" y2="${bottom}"/>`,
      text(x, bottom + 18, doubling === 0 ? 'middle' : 'middle muted', `${2 ** doubling}x`),
    );
  }
  const [slow, fast] = [axis.x(2 ** axis.from), axis.x(2 ** axis.to)];
  return [
    ...lines,
    text(axis.x(1), PLOT_TOP - 8, 'middle', `${baseline} = 1x`),
    text(slow, bottom + 40, 'muted', '← slower'),
    text((slow + fast) / 2, bottom + 40, 'middle muted', `speed, times that of ${baseline} (logarithmic)`),
    text(fast, bottom + 40, 'end muted', 'faster →'),
  ];
}

function renderLegend({ series, baseline }: Chart): readonly string[] {
  let x = 24;
  const parts = series.map((id, index) => {
    const drawn = `<rect class="s${index}" x="${x}" y="71" width="12" height="12" rx="2"/>${text(x + 18, 81, '', id)}`;
    x += 18 + textWidth(id) + 24;
    return drawn;
  });
  if (series.length === 0) return [text(24, 81, 'muted', `nothing was timed beside ${baseline}`)];
  const note = `one layer, ${series[0]}; bars are geometric means`;
  return [...parts, `<circle class="dot" cx="${x + 4}" cy="77" r="2.5"/>`, text(x + 14, 81, 'muted', note)];
}

function renderGroup(
  { name, count, bars }: ChartGroup,
  { series }: Chart,
  axis: Axis,
  top: number,
): readonly string[] {
  const middle = top + (bars.length * (BAR.height + BAR.gap) - BAR.gap) / 2;
  const noun = name === MATRIX_PRODUCT || name === INT8_PRODUCT ? 'shape' : 'layer';
  const lines = [
    text(PLOT.left - 12, middle - 1, 'end name', name),
    text(PLOT.left - 12, middle + 14, 'end muted', `${count} ${noun}${count === 1 ? '' : 's'}`),
  ];
  for (const [index, bar] of bars.entries()) {
    const color = series.indexOf(bar.id);
    // The layers of the last group stand in the groups above.
    const withPoints = color === 0 && name !== ALL_KINDS;
    lines.push(...renderBar(bar, color, withPoints, axis, top + index * (BAR.height + BAR.gap)));
  }
  return lines;
}

function renderBar(
  bar: ChartBar,
  color: number,
  withPoints: boolean,
  axis: Axis,
  top: number,
): readonly string[] {
  const [one, end] = [axis.x(1), axis.x(bar.speed)];
  const middle = top + BAR.height / 2;
  const first = color === 0;
  const points = withPoints ? bar.points.toSorted((a, b) => a.speed - b.speed) : [];
  return [
    // A bar of no length would not be seen at all.
    `<rect class="s${color}" x="${fixed(Math.min(one, end))}" y="${fixed(top)}" width="${fixed(Math.max(1, Math.abs(end - one)))}" height="${BAR.height}" rx="1.5"/>`,
    ...points.map(
      ({ key, speed }, index) =>
        // In a zigzag: neighbours of like speed would hide each other.
        `<circle class="dot" cx="${fixed(axis.x(speed))}" cy="${fixed(middle + 4 * ((index % 3) - 1))}" r="2.5"><title>${escapeXml(key)}: ${formatRatio(speed)}</title></circle>`,
    ),
    text(WIDTH - 24, middle + 4, first ? 'end name' : 'end muted', formatRatio(bar.speed)),
  ];
}

function styles(series: number): string {
  return [
    'text{font:12px system-ui,-apple-system,"Segoe UI",Helvetica,Arial,sans-serif}',
    '.title{font-size:16px;font-weight:600}.name{font-weight:600}',
    '.middle{text-anchor:middle}.end{text-anchor:end}',
    colors(LIGHT, series),
    `@media(prefers-color-scheme:dark){${colors(DARK, series)}}`,
  ].join('');
}

function colors({ ground, text: ink, muted, grid, series }: Theme, count: number): string {
  const bars = Array.from({ length: count }, (_, i) => `.s${i}{fill:${series[i % series.length]}}`);
  return [
    `.ground{fill:${ground}}text{fill:${ink}}.muted{fill:${muted}}`,
    `.grid{stroke:${grid}}.one{stroke:${ink};stroke-width:1.5}`,
    `.dot{fill:${ground};stroke:${ink};stroke-width:1.2}`,
    ...bars,
  ].join('');
}

function text(x: number, y: number, kind: string, content: string): string {
  const style = kind === '' ? '' : ` class="${kind}"`;
  return `<text${style} x="${fixed(x)}" y="${fixed(y)}">${escapeXml(content)}</text>`;
}

/** About: nobody here knows the reader's font. Only the legend depends on it. */
function textWidth(content: string): number {
  return 6.6 * content.length;
}

function fixed(value: number): string {
  return String(Math.round(value * 10) / 10);
}

function escapeXml(content: string): string {
  return content
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}
