/** A bench report as tables and the lines under them that say how to read them. */
import type { Colors } from '../colors.ts';
import { formatMs, formatPercent, formatRate, formatRatio } from '../format.ts';
import { printShape } from '../shapes/index.ts';
import { type Column, renderTable, type TableRow } from '../table.ts';
import { OURS } from './ours.ts';
import { quantizedGains } from './quantized.ts';
import type { BenchCell, BenchReport, BenchRow } from './report.ts';

const COLUMNS: readonly Column[] = [
  { title: 'shape' },
  { title: 'who' },
  { title: 'rate', align: 'right' },
  { title: 'ceiling', align: 'right' },
  { title: 'median', align: 'right' },
  { title: 'min', align: 'right' },
  { title: 'spread', align: 'right' },
  { title: 'first', align: 'right' },
];

/** Only where elements were compared one by one: convolutions. */
const ERROR_COLUMN: Column = { title: 'max error', align: 'right' };

export function renderBench(report: BenchReport, colors: Colors): string {
  const parts = [renderHeader(report, colors), renderRows(report, colors), renderKinds(report, colors)];
  parts.push(renderDevice(report, colors), renderQuantized(report, colors));
  if (report.cold) parts.push(renderCold(report.cold, colors));
  parts.push(renderFooter(report, colors));
  return parts.filter((part) => part !== '').join('\n');
}

function renderHeader({ environment, settings, version }: BenchReport, { bold }: Colors): string {
  const { node, cpu, cores, arch } = environment;
  const threads = `${settings.threads} ${settings.threads === 1 ? 'thread' : 'threads'}`;
  const numerics = settings.numerics === 'exact' ? ', exact' : '';
  return `${bold(`tesserae ${version}`)}  ${settings.suite}  ${threads}${numerics}  Node ${node}  ${cpu} (${cores} cores, ${arch})\n`;
}

function renderRows({ rows, contestants }: BenchReport, colors: Colors): string {
  if (rows.length === 0) return '';
  const withPeers = contestants.length > 1;
  const withErrors = rows.some(({ cells }) => cells.some((cell) => errorOf(cell) !== undefined));
  const columns = [
    ...COLUMNS,
    ...(withErrors ? [ERROR_COLUMN] : []),
    withPeers ? { title: 'ours', align: 'right' as const } : { title: 'plan' },
  ];
  const table = rows.flatMap((row, index) => [
    ...(withPeers && index > 0 ? ['gap' as const] : []),
    ...renderRow(row, withPeers, withErrors, colors),
  ]);
  const plans = withPeers ? renderPlans(rows, colors) : '';
  return `${renderTable(columns, table, colors.dim)}${plans}`;
}

function renderRow(
  row: BenchRow,
  withPeers: boolean,
  withErrors: boolean,
  colors: Colors,
): readonly TableRow[] {
  return row.cells.map((cell, index) => {
    const shape = index === 0 ? titleOf(row) : '';
    const who = cell.id === OURS ? colors.bold(cell.id) : cell.id;
    const error = errorOf(cell)?.toExponential(1) ?? '';
    const start = [shape, who, ...renderCell(row, cell, colors), ...(withErrors ? [error] : [])];
    return [...start, withPeers ? renderRatio(cell, colors) : planOf(cell)];
  });
}

function errorOf(cell: BenchCell): number | undefined {
  return cell.status === 'timed' || cell.status === 'slow' ? cell.maxAbsError : undefined;
}

function titleOf({ shape, key }: BenchRow): string {
  const plain = shape.name === key || shape.source === 'given' || /^square /.test(shape.name);
  return plain ? key : `${key}  (${shape.name})`;
}

function renderCell({ shape }: BenchRow, cell: BenchCell, colors: Colors): readonly string[] {
  if (cell.status === 'wrong') return [colors.red('WRONG ANSWER'), '', '', '', '', ''];
  if (cell.status === 'failed') return [colors.red('failed'), '', '', '', '', ''];
  if (cell.status === 'unsupported') return [colors.dim('cannot'), '', '', '', '', ''];
  const { rate } = cell;
  const memory = rate?.ceiling === 'memory';
  const speed = rate ? formatRate(memory ? rate.gbs : rate.gflops) : '';
  const share = rate ? formatPercent(rate.ofCeiling) : '';
  const operations = shape.kind === 'qmatmul' ? 'Gop/s  ' : 'GFLOP/s';
  const start = [`${speed} ${memory ? 'GB/s   ' : operations}`, share];
  if (cell.status === 'slow')
    return [...start, formatMs(cell.firstMs), '', colors.dim('one call'), formatMs(cell.firstMs)];
  const { summary, firstMs } = cell;
  return [
    ...start,
    formatMs(summary.median),
    formatMs(summary.min),
    formatPercent(summary.spread),
    formatMs(firstMs),
  ];
}

function renderRatio(cell: BenchCell, colors: Colors): string {
  if (cell.oursFasterBy === undefined) return '';
  const text = formatRatio(cell.oursFasterBy);
  return cell.oursFasterBy >= 1 ? colors.green(text) : colors.yellow(text);
}

function planOf(cell: BenchCell): string {
  return cell.status === 'timed' ? (cell.plan ?? '') : '';
}

function renderPlans(rows: readonly BenchRow[], { dim }: Colors): string {
  const lines = rows.flatMap(({ shape, cells }) => {
    const own = cells.find(({ id }) => id === OURS);
    const plan = own === undefined ? '' : planOf(own);
    return plan === '' ? [] : [[printShape(shape), plan]];
  });
  return lines.length === 0
    ? ''
    : `\n${renderTable([{ title: 'shape' }, { title: 'chosen plan' }], lines, dim)}`;
}

/** What our calls take by the GPU's own clock, where it has one. */
function renderDevice({ rows, machine, settings }: BenchReport, { dim }: Colors): string {
  const lines = rows.flatMap(({ shape, flops, cells }) => {
    const own = cells.find(({ id }) => id === OURS);
    if (own?.status !== 'timed' || own.deviceMs === undefined) return [];
    const gflops = flops / own.deviceMs / 1e6;
    const share = gflops / (machine.peakGflops * settings.threads);
    return [
      [printShape(shape), formatMs(own.deviceMs), `${formatRate(gflops)} GFLOP/s`, formatPercent(share)],
    ];
  });
  if (lines.length === 0) return '';
  const columns: readonly Column[] = [
    { title: "tesserae by the GPU's clock" },
    ...['time', 'rate', 'ceiling'].map((title): Column => ({ title, align: 'right' })),
  ];
  return renderTable(columns, lines, dim);
}

/** The last lines of the table: what all the rows say together. */
function renderKinds({ kinds = [] }: BenchReport, { dim }: Colors): string {
  const ids = [...new Set(kinds.flatMap(({ over }) => over.map(({ id }) => id)))];
  if (ids.length === 0) return '';
  const columns: readonly Column[] = [
    { title: 'ours, by kind of layer' },
    { title: 'layers', align: 'right' },
    ...ids.flatMap((id): Column[] => [
      { title: id, align: 'right' },
      { title: 'worst', align: 'right' },
    ]),
  ];
  const rows = kinds.map(({ kind, layers, over }) => [
    kind,
    String(layers),
    ...ids.flatMap((id) => {
      const ratio = over.find((one) => one.id === id);
      return ratio === undefined ? ['', ''] : [formatRatio(ratio.geomean), formatRatio(ratio.min)];
    }),
  ]);
  return renderTable(columns, rows, dim);
}

/** How many times as fast the integers are as the floats that they replace. */
function renderQuantized(report: BenchReport, colors: Colors): string {
  const gains = quantizedGains(report);
  const ids = report.contestants
    .map(({ id }) => id)
    .filter((id) => gains.some(({ over }) => over.some((one) => one.id === id)));
  if (ids.length === 0) return '';
  const columns: readonly Column[] = [
    { title: 'int8 over its f32 form' },
    ...ids.map((id): Column => ({ title: id, align: 'right' })),
  ];
  const rows = gains.map(({ key, over }) => [
    key,
    ...ids.map((id) => {
      const ratio = over.find((one) => one.id === id)?.ratio;
      if (ratio === undefined) return '';
      return ratio >= 1 ? formatRatio(ratio) : colors.yellow(formatRatio(ratio));
    }),
  ]);
  return renderTable(columns, rows, colors.dim);
}

function renderCold(cold: NonNullable<BenchReport['cold']>, colors: Colors): string {
  const columns: readonly Column[] = [
    { title: 'cold: import to first 256x256 result' },
    { title: 'median', align: 'right' },
    { title: 'min', align: 'right' },
    { title: 'spread', align: 'right' },
  ];
  const rows = cold.outcomes.map((outcome) => {
    if (outcome.status === 'failed') return [outcome.id, colors.red('failed'), '', ''];
    const { median, min, spread } = outcome.summary;
    return [outcome.id, formatMs(median), formatMs(min), formatPercent(spread)];
  });
  return renderTable(columns, rows, colors.dim);
}

function renderFooter(report: BenchReport, colors: Colors): string {
  return footnotes(report)
    .map((line) => colors.dim(`${line}\n`))
    .join('');
}

function processorNote({ machine, settings: { threads } }: BenchReport): string {
  const memory = threads === 1 ? machine.readGBs : machine.readGBsAllThreads;
  return (
    `Ceilings: ${formatRate(machine.peakGflops)} GFLOP/s a thread (128-bit multiply-add), times ${threads}; ` +
    `one row or column and depthwise layers by reading memory at ${formatRate(memory)} GB/s (over 100 %: it was in cache).`
  );
}

function gpuNotes({
  name,
  software,
  peakGflops,
  resident,
}: NonNullable<BenchReport['gpu']>): readonly string[] {
  const where = resident ? 'operands and results stay there' : 'from memory to memory';
  return [
    `On ${name}: ${formatRate(peakGflops)} GFLOP/s is its multiply-add ceiling; ${where}.`,
    ...(software ? ['It is a processor that stands in for a GPU: these figures are no GPU speed.'] : []),
  ];
}

/** What a reader must know to judge the numbers, in the order of the columns. */
export function footnotes(report: BenchReport): readonly string[] {
  const { settings, contestants, absent, rows, cold, engineFlags, environment } = report;
  const { threads } = settings;
  const lines: string[] = [];
  if (rows.length > 0) {
    lines.push(
      ...(report.gpu ? gpuNotes(report.gpu) : [processorNote(report)]),
      'Work is counted on the shape asked for. Every answer was verified; samples were taken in turn; spread is (p90 - p10) / median.',
    );
    if (report.kinds !== undefined)
      lines.push('By kind of layer: geometric mean of "ours" over the layers, and the worst of them.');
    if (rows.some(({ shape }) => shape.kind === 'qmatmul'))
      lines.push('int8: u8 x i8 to exact 32-bit sums; its share is of the ceiling for f32.');
    if (rows.some(({ shape }) => shape.kind !== 'conv' && shape.kind !== 'qmatmul' && shape.half))
      lines.push(
        'f16: ours keeps operands as halves, peers floats of the same values; its share is of the ceiling for f32.',
      );
    if (quantizedGains(report).length > 0)
      lines.push('"int8 over its f32 form": median time of the f32 product / that of the int8 one.');
    if (rows.some(({ cells }) => cells.some((cell) => errorOf(cell) !== undefined)))
      lines.push(
        '"max error": largest absolute error against float64 over the elements that were checked; relative ones are in the JSON.',
      );
    if (contestants.length > 1)
      lines.push(
        '"ours": median over the rounds of that contestant\'s time / ours; above 1x tesserae is faster.',
      );
  }
  for (const { id, version, threads: own, includes } of contestants) {
    const fewer = own === threads ? '' : `, ${own} ${own === 1 ? 'thread' : 'threads'} only`;
    lines.push(`${id} ${version}${fewer}: ${includes}.`);
  }
  if (contestants.length > 1)
    lines.push('Each peer runs in a process of its own, asleep while it is not its turn.');
  if (engineFlags.length > 0) {
    lines.push(
      `V8 flags set for tesserae only, peers run without: ${engineFlags.join(' ')}. Percentages stay those of 128 bits.`,
    );
  }
  if (cold) lines.push(`Cold: fresh processes; tesserae is ${cold.library}.`);
  for (const { id, reason } of absent) lines.push(`Skipped ${id}: ${reason}.`);
  lines.push(...problems(report));
  if (environment.load > environment.cores / 4) {
    lines.push(`The machine was busy (load ${environment.load.toFixed(1)}): expect wide spreads.`);
  }
  if (report.interrupted) lines.push('Interrupted: only what was finished is shown.');
  return lines;
}

function problems({ rows, cold }: BenchReport): readonly string[] {
  const inRows = rows.flatMap(({ key, cells }) =>
    cells.flatMap((cell) => {
      if (cell.status === 'wrong') return [`${cell.id}, ${key}: wrong answer, not timed: ${cell.reason}`];
      return 'reason' in cell ? [`${cell.id}, ${key}: ${cell.reason}`] : [];
    }),
  );
  const inCold = (cold?.outcomes ?? []).flatMap((outcome) =>
    outcome.status === 'failed' ? [`${outcome.id}, cold: ${outcome.reason}`] : [],
  );
  return [...inRows, ...inCold];
}
