/**
 * Whole models by several engines, each in a process of its own: the same inputs, answers compared, samples in turn. Between two engines
 * there is a rest: onnxruntime-web's second thread keeps a core busy for some tens of milliseconds after a run (25 % to 40 % of the next
 * 100), which whoever comes next must not pay for; everybody's first run after the rest is not counted.
 */
import { type ElementType, inspectModel } from '../../../onnx/index.ts';
import { UsageError } from '../../errors.ts';
import { Child } from '../child.ts';
import { geometricMean } from '../kinds.ts';
import { median } from '../stats.ts';
import type { Absent } from '../types.ts';
import { MODEL_ARGUMENT } from './argument.ts';
import {
  type EngineInfo,
  type EngineOptions,
  type ModelRequest,
  type Opened,
  OURS,
  type Output,
} from './host.ts';
import type { BenchModel } from './list.ts';

/** Engines compile hot functions while they run: two seconds are enough for all of a network. */
const WARM_MS = 2000;
const SAMPLE_MS = 20;
const REST_MS = 100;
const LEAST_ROUNDS = 5;
/** Relative to a result's largest value; results below `LEAST` are compared as if they were as large. */
const TOLERANCE = 1e-3;
const LEAST = 1e-3;

export interface ModelCell {
  readonly id: string;
  readonly createMs: number;
  readonly createFirstMs: number;
  readonly firstMs: number;
  /** Median. */
  readonly ms: number;
  readonly samples: readonly number[];
  /** Median over the rounds of its time over ours. */
  readonly ratio: number;
  /** How far its answers are from ours, relative to the largest value of each. */
  readonly off: number;
}

export interface ModelRow {
  readonly model: string;
  readonly inputs: Readonly<Record<string, readonly number[]>>;
  readonly cells: readonly ModelCell[];
  readonly failed: readonly { readonly id: string; readonly reason: string }[];
}

export class Engine {
  readonly info: EngineInfo;
  readonly #child: Child<ModelRequest>;

  private constructor(info: EngineInfo, child: Child<ModelRequest>) {
    this.info = info;
    this.#child = child;
  }

  static async start(id: string, options: EngineOptions, signal: AbortSignal): Promise<Engine | Absent> {
    const child = new Child<ModelRequest>(MODEL_ARGUMENT);
    signal.addEventListener('abort', () => child.kill(), { once: true });
    try {
      const info = (await child.request({ op: 'load', engine: id, options })) as EngineInfo | Absent;
      if (!('absent' in info)) return new Engine(info, child);
      await child.close({ op: 'close' });
      return info;
    } catch (error) {
      signal.throwIfAborted();
      child.kill();
      return { absent: error instanceof Error ? error.message : String(error) };
    }
  }

  open(file: string, inputs: BenchModel['inputs'], tuneMs: number): Promise<Opened> {
    return this.#child.request({ op: 'open', file, inputs, tuneMs }) as Promise<Opened>;
  }

  /** Milliseconds of a run. */
  run(ms: number): Promise<number> {
    return this.#child.request({ op: 'run', ms }) as Promise<number>;
  }

  release(): Promise<unknown> {
    return this.#child.request({ op: 'release' });
  }

  close(): Promise<void> {
    return this.#child.close({ op: 'close' });
  }
}

/** Shapes of all inputs. @throws for a model that takes something else than floats. */
export async function inputsOf({ name, file, inputs }: BenchModel): Promise<BenchModel['inputs']> {
  const report = await inspectModel(file);
  return Object.fromEntries(
    report.inputs.map(({ name: input, type, shape = [] }) => {
      const wanted: ElementType = 'float32';
      if (type !== wanted)
        throw new UsageError(`${name}: its input ${input} takes ${type}`, 'Models of floats are measured.');
      const dims = shape.map((extent) => (typeof extent === 'number' && extent > 0 ? extent : 1));
      return [input, inputs[input] ?? dims];
    }),
  );
}

function departure(wanted: Output, got: Output | undefined): number {
  if (!got || wanted.dims.join() !== got.dims.join()) return Number.POSITIVE_INFINITY;
  const most = wanted.data.reduce((x, y) => Math.max(x, Math.abs(y)), LEAST);
  return wanted.data.reduce((worst, value, at) => {
    const off = Math.abs(value - got.data[at]!) / most;
    return off <= worst ? worst : Number.isNaN(off) ? Number.POSITIVE_INFINITY : off;
  }, 0);
}

function worstOf(own: Opened, other: Opened): number {
  return Math.max(
    0,
    ...Object.entries(other.outputs).map(([name, output]) => departure(output, own.outputs[name])),
  );
}

export interface RaceSettings {
  readonly timeMs: number;
  readonly tuneMs: number;
  readonly signal: AbortSignal;
  readonly onProgress: (share: number) => void;
}

interface Entrant {
  readonly engine: Engine;
  readonly opened: Opened;
  readonly off: number;
  readonly samples: number[];
}

/** The engines in turn, ours first. */
export async function raceModel(
  engines: readonly Engine[],
  model: BenchModel,
  { timeMs, tuneMs, signal, onProgress }: RaceSettings,
): Promise<ModelRow> {
  const inputs = await inputsOf(model);
  const entrants: Entrant[] = [];
  const failed: { id: string; reason: string }[] = [];
  for (const engine of engines) {
    const { id } = engine.info;
    try {
      const opened = await engine.open(model.file, inputs, tuneMs);
      const off = entrants.length === 0 ? 0 : worstOf(entrants[0]!.opened, opened);
      entrants.push({ engine, opened, off, samples: [] });
      await engine.run(WARM_MS);
    } catch (error) {
      signal.throwIfAborted();
      failed.push({ id, reason: error instanceof Error ? error.message : String(error) });
      if (id === OURS) break;
    }
    onProgress(entrants.length / (2 * engines.length));
  }
  const rounds = Math.max(LEAST_ROUNDS, Math.ceil(timeMs / SAMPLE_MS));
  const timed = failed.some(({ id }) => id === OURS) ? [] : entrants;
  for (let round = 0; round < rounds && timed.length > 0; round++) {
    for (const { engine, samples } of timed) {
      signal.throwIfAborted();
      await new Promise((resolve) => setTimeout(resolve, REST_MS));
      samples.push(await engine.run(SAMPLE_MS));
    }
    onProgress(0.5 + round / (2 * rounds));
  }
  for (const { engine } of entrants) await engine.release();
  return { model: model.name, inputs, cells: timed.map((one) => cellOf(one, timed[0]!)), failed };
}

function cellOf({ engine, opened, off, samples }: Entrant, own: Entrant): ModelCell {
  const ratio = median(samples.map((ms, round) => ms / own.samples[round]!));
  const { createMs, createFirstMs, firstMs } = opened;
  return { id: engine.info.id, createMs, createFirstMs, firstMs, ms: median(samples), samples, ratio, off };
}

/** Whether an answer is too far from ours to be called the same. */
export function isWrong({ off }: ModelCell): boolean {
  return !(off <= TOLERANCE);
}

/** Of the ratios of a peer, over the models that it ran. */
export function meanOf(rows: readonly ModelRow[], id: string): { mean: number; worst: number } | undefined {
  const ratios = rows.flatMap(({ cells }) =>
    cells.filter((cell) => cell.id === id).map(({ ratio }) => ratio),
  );
  return ratios.length > 0 ? { mean: geometricMean(ratios), worst: Math.min(...ratios) } : undefined;
}
