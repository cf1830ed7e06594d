/** InferenceSession: a model that is loaded once and run on many inputs. */
import { TesseraeError } from '../core/errors.ts';
import { showShape } from '../core/shape.ts';
import { show } from '../core/show.ts';
import { ASYNC_NAMES, checkAsync, checkOptions } from '../ops/arguments.ts';
import type { Core } from '../ops/core.ts';
import { coreOf } from '../ops/runtime.ts';
import type { EachStep, TapeSetting, TapeStep } from '../ops/tape.ts';
import { tuneProblem } from '../ops/tuning.ts';
import type { AsyncOptions, Runtime, RuntimeOptions } from '../ops/types.ts';
import { resultElements } from '../problem/problem.ts';
import type { Comparison } from './compare.ts';
import { Kept } from './context.ts';
import { FILTER_FORMS, type FilterForms, FilterRoom, weightBytes } from './filter-room.ts';
import { abreast } from './graph/abreast.ts';
import { checkModel, inOrder } from './graph/check.ts';
import { optimise } from './graph/optimise.ts';
import { type Schedule, schedule } from './graph/run.ts';
import { outputsOf, shapesOnly, withNames } from './graph/shapes/infer.ts';
import { hoistConstants } from './graph/tidy.ts';
import { type Lease, leaseRuntime } from './lease.ts';
import { type Loaded, loadModel } from './load.ts';
import type { Graph, ValueInfo } from './model/types.ts';
import { Plan } from './plan.ts';
import { readTensorIn, Tensor, type TensorIn } from './tensor.ts';

/**
 * The options of a runtime are for a session that is given none. Sessions with equal ones share a runtime, unless an option is an object, a
 * GPU is asked for, or a model has more than 512 MiB of weights.
 */
export interface SessionOptions extends RuntimeOptions {
  /** Run on a runtime of the caller's, which is then not closed with the session. */
  readonly runtime?: Runtime;
  /** `none` runs every node as it is in the file. Default `all`. */
  readonly graphOptimizationLevel?: 'none' | 'all';
  /**
   * How filters are kept: `fast` in whatever form their convolution is expected to be fastest with, which is up to four times as large where
   * that is Winograd's and 1.75 times where it is Strassen's; `small` in none that is larger than they are; `auto` in larger ones as
   * long as these take no more than 6 % of all weights, or 64 MiB less a quarter of them where that is more. Default `auto`.
   */
  readonly filters?: FilterForms;
}

export interface PrepareOptions {
  /** Milliseconds for measuring plans. Default 0: estimates serve. */
  readonly tuneMs?: number;
  readonly signal?: AbortSignal;
}

export type Feeds = Readonly<Record<string, TensorIn>>;
export type Results = Readonly<Record<string, Tensor>>;

/** One step of a run as `explain` tells it. */
export interface StepReport {
  /** The node, or the output that names it. */
  readonly node: string;
  readonly op: string;
  readonly problem: string;
  /** A step that a later one computes where it reads it says so, takes no time of its own and writes nothing. */
  readonly kernel: string;
  readonly backend: string;
  readonly ms: number;
  /** Of the result. */
  readonly bytes: number;
}

/** What a session is made of, besides the model itself. */
interface Prepared {
  readonly optimised: Schedule;
  /** What the outputs' shapes follow from. */
  readonly shapes: Graph;
  readonly room: FilterRoom;
}

/** Plans that are kept, one for each set of input shapes. */
const MOST_PLANS = 8;
const RUN_OPTIONS: ReadonlySet<string> = new Set(ASYNC_NAMES);

/**
 * A model ready to run. Made by `InferenceSession.create`; the shape of the API is onnxruntime-common's.
 * @example
 * const session = await InferenceSession.create('model.onnx');
 * const { scores } = await session.run({ input: new Tensor('float32', pixels, [1, 3, 224, 224]) });
 * await session.release();
 */
export class InferenceSession {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  readonly inputMetadata: readonly ValueInfo[];
  readonly metadata: Readonly<Record<string, string>>;
  readonly #lease: Lease;
  readonly #core: Core;
  readonly #schedule: Schedule;
  readonly #opset: number;
  readonly #kept: Kept;
  readonly #plans = new Map<string, Plan>();
  /** Of inputs that are known to want another than the usual one. */
  readonly #settings = new Map<string, TapeSetting>();
  readonly #unload: () => void;
  readonly #shapes: Graph;
  #outputs: readonly ValueInfo[] | undefined;
  #turn: Promise<unknown> = Promise.resolve();
  #released = false;

  private constructor({ model, release }: Loaded, lease: Lease, { optimised, shapes, room }: Prepared) {
    this.#kept = new Kept(room);
    this.#unload = release;
    this.#lease = lease;
    this.#core = coreOf(lease.runtime);
    this.#schedule = optimised;
    this.#opset = model.opsets.get('') ?? 1;
    this.metadata = model.metadata;
    this.inputMetadata = model.graph.inputs.map(withNames);
    this.#shapes = shapes;
    this.inputNames = model.graph.inputs.map(({ name }) => name);
    this.outputNames = model.graph.outputs.map(({ name }) => name);
  }

  /**
   * Loads a model from a file, a URL or bytes; in browsers any text is a URL. Constants in other files are found beside a file.
   * @throws `E_MODEL` for what is no model, and, all in one, for operators, versions and types that are not run.
   */
  static async create(
    source: string | URL | Uint8Array | ArrayBuffer,
    options: SessionOptions = {},
  ): Promise<InferenceSession> {
    const { runtime: given, graphOptimizationLevel = 'all', filters = 'auto', ...runtimeOptions } = options;
    if (!FILTER_FORMS.includes(filters))
      throw new TesseraeError(
        'E_ARGUMENT',
        `filters is ${show(filters)}`,
        { filters },
        `Use one of ${FILTER_FORMS.join(', ')}.`,
      );
    const loaded = await loadModel(source);
    let lease: Lease | undefined;
    try {
      const { model } = loaded;
      checkModel(model);
      const ordered = inOrder(model.graph);
      const plain = { ...model.graph, nodes: ordered };
      const graph = graphOptimizationLevel === 'none' ? plain : optimise(plain, model.opsets.get(''));
      const weights = weightBytes(graph);
      lease = given
        ? { runtime: given, end: () => Promise.resolve() }
        : await leaseRuntime(runtimeOptions, weights);
      // one thread goes in the model's own order, in which values are read soon after they were made
      const isAbreast = coreOf(lease.runtime).threads > 1;
      const groups = isAbreast ? abreast(graph.nodes) : graph.nodes.map((node) => [node]);
      const optimised = schedule(graph, groups);
      const shapes = shapesOnly(hoistConstants(plain));
      const room = new FilterRoom(filters, graph);
      return new InferenceSession(loaded, lease, { optimised, shapes, room });
    } catch (error) {
      loaded.release();
      await lease?.end();
      throw error;
    }
  }

  /** The runtime that the session computes on. Others may as well: whoever closes it ends all of them. */
  get runtime(): Runtime {
    return this.#lease.runtime;
  }

  /** With shapes that follow from the inputs', in the names of their extents: `[N, 1, H, floor((W + 7) / 8)]`. */
  get outputMetadata(): readonly ValueInfo[] {
    this.#outputs ??= outputsOf(this.#shapes, this.#opset);
    return this.#outputs;
  }

  /**
   * Runs the model. Runs that overlap take turns. Inputs of shapes that were seen before go the way that was found then.
   * @throws `E_ARGUMENT`, `E_DTYPE`, `E_SHAPE` for inputs that do not fit; the signal's reason when aborted.
   */
  run(feeds: Feeds, options: AsyncOptions = {}): Promise<Results> {
    const turn = this.#turn.then(async () => {
      const inputs = this.#read(feeds, options);
      return this.#run(inputs, options);
    });
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  /**
   * Plans, packs and compiles for inputs of these shapes, on zeros where none are given. With `tuneMs`, which all products and
   * convolutions share, plans are measured first and kept in wisdom.
   */
  async prepare(feeds?: Feeds, { tuneMs = 0, signal }: PrepareOptions = {}): Promise<void> {
    const given = feeds ?? this.#zeros();
    await this.run(given, signal ? { signal } : {});
    if (tuneMs > 0) {
      await this.#tune(keyOf(this.#read(given, {})), tuneMs, signal);
      await this.run(given, signal ? { signal } : {});
    }
    await this.run(given, signal ? { signal } : {});
  }

  /** Measures the plans of a recorded run; the run is recorded anew. */
  async #tune(key: string, tuneMs: number, signal: AbortSignal | undefined): Promise<void> {
    const plan = this.#plans.get(key);
    const { problems = [], setting = 'chain' } = plan ?? {};
    const core = this.#core;
    const end = performance.now() + tuneMs;
    for (const [index, problem] of problems.entries()) {
      signal?.throwIfAborted();
      const budgetMs = Math.max(1, (end - performance.now()) / (problems.length - index));
      await tuneProblem(core, problem, { effort: 'measure', budgetMs, setting, ...(signal && { signal }) });
      core.checkOpen('tune');
    }
    core.save();
    const turn = this.#turn.then(() => {
      plan?.dispose();
      this.#plans.delete(key);
    });
    this.#turn = turn;
    await turn;
  }

  /** What each step of a run on these inputs is, and what it took. */
  explain(feeds?: Feeds): Promise<readonly StepReport[]> {
    const given = feeds ?? this.#zeros();
    const turn = this.#turn.then(async () => {
      const inputs = this.#read(given, {});
      await this.#run(inputs, {});
      const steps: StepReport[] = [];
      await this.#run(inputs, {}, (...step) => steps.push(report(this.#schedule, ...step)));
      return steps;
    });
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  /**
   * Runs node by node beside the float64 reference, each on what the node before it made, and names the first that is further off than
   * `tolerance` (relative to its largest value; default 1e-4). Slow: for finding out where a result comes from.
   * @throws `E_MODEL` for models whose shapes follow from values, which are not recorded.
   */
  compare(feeds?: Feeds, { tolerance = 1e-4 }: { readonly tolerance?: number } = {}): Promise<Comparison> {
    const given = feeds ?? this.#zeros();
    const turn = this.#turn.then(async () => {
      const inputs = this.#read(given, {});
      await this.#run(inputs, {});
      const plan = this.#plans.get(keyOf(inputs));
      if (plan) return plan.compare(inputs, tolerance, (label) => opOf(this.#schedule, label));
      throw new TesseraeError(
        'E_MODEL',
        'the runs of this model are not recorded: shapes follow from values',
        { model: this.inputNames },
        'Only recorded runs are compared step by step.',
      );
    });
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  /** Gives back what the session holds. A runtime that it was not given is closed when no session has used it for a second. */
  async release(): Promise<void> {
    if (this.#released) return;
    this.#released = true;
    await this.#turn;
    for (const plan of this.#plans.values()) plan.dispose();
    this.#plans.clear();
    this.#kept.dispose();
    this.#unload();
    await this.#lease.end();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.release();
  }

  async #run(inputs: ReadonlyMap<string, Tensor>, options: AsyncOptions, each?: EachStep): Promise<Results> {
    options.signal?.throwIfAborted();
    const key = keyOf(inputs);
    const known = this.#plans.get(key);
    if (known) {
      // the one that was used last is thrown away last
      this.#plans.delete(key);
      this.#plans.set(key, known);
      return known.run(inputs, options, each);
    }
    let plan = this.#makePlan(this.#settings.get(key));
    try {
      await plan.record(inputs, options);
      if (plan.isShort) {
        plan.dispose();
        plan = this.#makePlan('short chain');
        this.#settings.set(key, plan.setting);
        await plan.record(inputs, options);
      }
      const results = await plan.runFirst(options);
      if (plan.isReplayable) this.#keep(key, plan);
      else plan.dispose();
      return results;
    } catch (error) {
      plan.dispose();
      throw error;
    }
  }

  #makePlan(setting: TapeSetting | undefined): Plan {
    return new Plan(this.#lease.runtime, this.#core, this.#kept, this.#opset, this.#schedule, setting);
  }

  #keep(key: string, plan: Plan): void {
    this.#plans.set(key, plan);
    if (this.#plans.size <= MOST_PLANS) return;
    const [oldest] = this.#plans;
    oldest![1].dispose();
    this.#plans.delete(oldest![0]);
    this.#settings.delete(oldest![0]);
  }

  #read(feeds: Feeds, options: AsyncOptions): Map<string, Tensor> {
    if (this.#released)
      throw new TesseraeError(
        'E_CLOSED',
        'the session was released',
        {},
        'Create another with InferenceSession.create().',
      );
    this.#core.checkOpen('run a model');
    checkOptions(options, RUN_OPTIONS);
    checkAsync(options);
    if (typeof feeds !== 'object' || feeds === null)
      throw new TesseraeError(
        'E_ARGUMENT',
        'feeds is no object',
        { feeds },
        'Pass { name: tensor } for each input.',
      );
    const known = new Set(this.inputNames);
    const odd = Object.keys(feeds).find((name) => !known.has(name));
    if (odd !== undefined)
      throw new TesseraeError(
        'E_ARGUMENT',
        `the model has no input ${odd}`,
        { name: odd, inputs: this.inputNames },
        `Its inputs are ${this.inputNames.join(', ')}.`,
      );
    return new Map(this.inputMetadata.map((info) => [info.name, readFeed(info, feeds[info.name])]));
  }

  /** Zeros of the shapes that the model says; extents that it leaves open are 1. */
  #zeros(): Feeds {
    return Object.fromEntries(
      this.inputMetadata.map(({ name, type, shape = [] }) => {
        const dims = shape.map((extent) => (typeof extent === 'number' && extent > 0 ? extent : 1));
        const count = dims.reduce((x, y) => x * y, 1);
        return [name, new Tensor(type, new Array<number>(count).fill(0), dims)];
      }),
    );
  }
}

function keyOf(inputs: ReadonlyMap<string, Tensor>): string {
  return [...inputs].map(([name, { dims }]) => `${name}:${dims.join('x')}`).join(' ');
}

function readFeed({ name, type, shape }: ValueInfo, value: unknown): Tensor {
  if (value === undefined)
    throw new TesseraeError(
      'E_ARGUMENT',
      `the input ${name} is missing`,
      { name },
      `Pass { '${name}': tensor }.`,
    );
  const tensor = readTensorIn(name, value, type);
  const fits =
    shape === undefined ||
    (shape.length === tensor.dims.length &&
      shape.every(
        (extent, axis) => typeof extent !== 'number' || extent <= 0 || extent === tensor.dims[axis],
      ));
  if (fits) return tensor;
  throw new TesseraeError(
    'E_SHAPE',
    `${name} has shape ${showShape(tensor.dims)}, the model takes [${shape.join(', ')}]`,
    { name, dims: tensor.dims, wanted: shape },
    'Names stand for any extent, numbers for themselves.',
  );
}

function opOf({ nodes }: Schedule, label: string): string {
  return nodes.find((one) => (one.name || one.outputs[0] || one.op) === label)?.op ?? '';
}

function report(
  of: Schedule,
  { label, execution }: TapeStep,
  ms: number,
  within: TapeStep | undefined,
): StepReport {
  const { key, plan, problem } = execution;
  const kernel = `${plan.algorithm} ${plan.kernel} x${plan.threads}`;
  return {
    node: label,
    op: opOf(of, label),
    problem: key,
    kernel: within ? `${kernel}, within ${within.label}` : kernel,
    backend: plan.backend,
    ms,
    bytes: within ? 0 : 4 * resultElements(problem),
  };
}
