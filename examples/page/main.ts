/** tesserae on the device that opens the page: what is there, how fast it is, what the tuner makes of it. */
import { createRuntime, printPlan, type Runtime, type RuntimeInfo } from 'tesserae';
import { type Dot, roofline } from './roofline.ts';
import { measure, WORK, type Work } from './work.ts';

/** `?quick` measures less, for whoever only wants to see the page. */
const isQuick = new URLSearchParams(location.search).has('quick');
const MEASURE_MS = isQuick ? 60 : 700;
const TUNE_MS = isQuick ? 100 : 1500;

type Series = Dot['series'];
const CLASS: Readonly<Record<Series, string>> = { WebAssembly: 'wasm', GPU: 'gpu' };

function element<T extends HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  text = '',
  className = '',
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = className;
  return made;
}

function fact(name: string, value: string, detail = ''): void {
  const description = make('dd', value);
  if (detail) description.append(make('small', detail));
  element('facts').append(make('dt', name), description);
}

function showFacts(info: RuntimeInfo, gpu: RuntimeInfo | string): void {
  const { engine, threads, features, machine, version } = info;
  element('engine').textContent = `tesserae ${version} in ${engine.name} ${engine.version}`;
  const kind = threads.memory === 'shared' ? 'one shared memory' : 'a memory for each';
  fact('Threads', `${threads.actual} of ${threads.requested}, ${kind}`, threads.reason);
  const on = features.filter((feature) => feature.on).map(({ name }) => name);
  fact('WebAssembly', on.join(', '));
  fact('One thread', `${machine.peakGflops.toFixed(1)} GFLOP/s`, 'multiply-adds in registers, 128 bits wide');
  fact('Memory', `${machine.readGBs.toFixed(1)} GB/s`, 'read by one thread');
  if (typeof gpu === 'string') fact('GPU', 'none', gpu);
  else {
    const { name, software } = gpu.gpu!;
    fact('GPU', name, software ? 'by WebGPU, but computed by the processor' : 'by WebGPU');
  }
}

/** One row of bars, which grow with the fastest of all. */
class Bars {
  readonly #bars = new Map<
    string,
    { readonly bar: HTMLElement; readonly label: HTMLElement; gflops: number }
  >();

  constructor(series: readonly Series[]) {
    element('legend').replaceChildren(...series.map((name) => make('span', name, CLASS[name])));
    const rows = WORK.map(({ name }) => {
      const row = make('div', '', 'row');
      row.append(make('div', name));
      for (const one of series) {
        const line = make('div', '', `bar ${CLASS[one]}`);
        const [bar, label] = [make('i'), make('span')];
        line.append(bar, label);
        row.append(line);
        this.#bars.set(`${name} ${one}`, { bar, label, gflops: 0 });
      }
      return row;
    });
    element('bars').replaceChildren(...rows);
  }

  show(name: string, series: Series, gflops: number): void {
    const found = this.#bars.get(`${name} ${series}`)!;
    found.gflops = gflops;
    found.label.textContent = gflops < 10 ? gflops.toPrecision(2) : gflops.toFixed(0);
    const most = Math.max(...[...this.#bars.values()].map((one) => one.gflops));
    for (const { bar, gflops: own } of this.#bars.values()) bar.style.width = `${(80 * own) / most}%`;
  }
}

async function bench(runtimes: ReadonlyMap<Series, Runtime>, info: RuntimeInfo): Promise<void> {
  const bars = new Bars([...runtimes.keys()]);
  const dots: Dot[] = [];
  for (const work of WORK)
    for (const [series, rt] of runtimes) {
      const gflops = (seconds: number) => work.flop / seconds / 1e9;
      const seconds = await measure(rt, work, MEASURE_MS, (so) => bars.show(work.name, series, gflops(so)));
      dots.push({ name: work.name, intensity: work.flop / work.bytes, gflops: gflops(seconds), series });
      const figure = element('roofline');
      figure.replaceChildren(roofline(info.machine, info.threads.actual, dots, figure.clientWidth));
    }
}

/** Races the plans of one problem after the other and shows each choice as it is made. */
async function tune(rt: Runtime, works: readonly Work[]): Promise<void> {
  for (const { name, spec } of works) {
    const row = make('tr');
    const problem = make('td', name);
    const kernel = make('small', 'racing…');
    problem.append(kernel);
    row.append(problem, make('td'), make('td'));
    element('choices').append(row);
    const [report] = await rt.tune([spec], { budgetMs: TUNE_MS });
    if (!report) continue;
    const { plan, ms, estimateMs, measured } = report;
    kernel.textContent = `${plan.algorithm}, ${plan.kernel}`;
    kernel.title = `${printPlan(plan)}, best of ${measured} that were measured`;
    const number = (value: number) => make('td', `${value.toPrecision(3)} ms`, 'number');
    row.replaceChildren(problem, number(estimateMs), number(ms));
  }
}

async function openGpu(): Promise<Runtime | string> {
  try {
    return await createRuntime({ backend: 'webgpu' });
  } catch (error) {
    // without the code and the hint, which are for programmers
    return error instanceof Error ? error.message.replace(/ \(E_.*$/s, '') : String(error);
  }
}

async function main(): Promise<void> {
  const rt = await createRuntime();
  const gpu = await openGpu();
  showFacts(rt.info, typeof gpu === 'string' ? gpu : gpu.info);
  const runtimes = new Map<Series, Runtime>([['WebAssembly', rt]]);
  if (typeof gpu !== 'string') runtimes.set('GPU', gpu);
  const again = element<HTMLButtonElement>('again');
  const measureAll = async () => {
    again.disabled = true;
    document.body.dataset.state = 'measuring';
    await bench(runtimes, rt.info);
    document.body.dataset.state = 'measured';
    again.disabled = false;
  };
  again.addEventListener('click', () => void measureAll());
  await measureAll();
  again.disabled = true;
  await tune(rt, WORK);
  again.disabled = false;
  const { entries, source } = rt.info.wisdom;
  element('note').textContent = `${entries} plans are kept in ${source}. Nothing leaves this device.`;
  document.body.dataset.state = 'done';
}

main().catch((error: unknown) => {
  element('engine').textContent = error instanceof Error ? error.message : String(error);
  document.body.dataset.state = 'failed';
});
