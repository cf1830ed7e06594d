/** How a model runs on inputs of certain shapes: recorded once, then run from the record. */
import { aSlice } from '../core/slice.ts';
import { composeMoves } from '../ops/array/compose.ts';
import { planArray } from '../ops/array/request.ts';
import type { Core } from '../ops/core.ts';
import { Replay } from '../ops/replay.ts';
import type { EachStep, Tape, TapeSetting } from '../ops/tape.ts';
import { DenseTensor } from '../ops/tensor.ts';
import type { AsyncOptions, Runtime } from '../ops/types.ts';
import { isPlanned } from '../plan/candidates.ts';
import type { MoveProblem } from '../problem/move.ts';
import type { Problem } from '../problem/problem.ts';
import type { AsyncControl } from '../schedule/execute.ts';
import { type Comparison, type Departure, departureOf, referenceOf } from './compare.ts';
import { Context, Kept } from './context.ts';
import { readBy } from './graph/check.ts';
import { runInner, runSchedule, type Schedule } from './graph/run.ts';
import { fromNumbers, Tensor, toNumbers } from './tensor.ts';
import { isFloat, Value } from './value.ts';

export class Plan {
  readonly #runtime: Runtime;
  readonly #core: Core;
  readonly #kept: Kept;
  readonly #opset: number;
  readonly #schedule: Schedule;
  readonly #planned = new Kept();
  readonly #tape: Tape;
  #replay: Replay | undefined;
  readonly #inputs = new Map<string, Value>();
  #outputs: readonly Value[] = [];

  constructor(
    runtime: Runtime,
    core: Core,
    kept: Kept,
    opset: number,
    of: Schedule,
    setting: TapeSetting = 'chain',
  ) {
    this.#runtime = runtime;
    this.#core = core;
    this.#kept = kept;
    this.#opset = opset;
    this.#schedule = of;
    this.#tape = core.makeTape(setting);
  }

  /** Whether later runs can go without asking every node again. */
  get isReplayable(): boolean {
    return this.#tape.spoiled === undefined;
  }

  /** How what was recorded is planned. */
  get setting(): TapeSetting {
    return this.#tape.setting;
  }

  /** Whether the run were better planned for one thread. */
  get isShort(): boolean {
    const { planner, threads } = this.#core;
    if (threads === 1 || this.setting === 'short chain' || !this.isReplayable) return false;
    // recorded again, a run would draw its numbers again
    if (this.#planned.fresh.length > 0) return false;
    return this.#tape.isShort(({ problem, ms }) =>
      isPlanned(problem) ? planner.plan(problem, 'short chain').ms : ms,
    );
  }

  /** Why not. */
  get spoiled(): string | undefined {
    return this.#tape.spoiled;
  }

  /** What was planned, each once: products and convolutions are worth being measured. */
  get problems(): readonly Problem[] {
    const byKey = new Map(this.#tape.steps.map(({ execution: { key, problem } }) => [key, problem]));
    return [...byKey.values()].filter(({ op }) => op === 'matmul' || op === 'conv');
  }

  /** The first part of the first run: every node is asked and planned, with a rest now and then for the thread's other work. */
  async record(inputs: ReadonlyMap<string, Tensor>, { signal }: AsyncOptions): Promise<void> {
    const core = this.#core;
    const recording = core.record(this.#tape, () => {
      for (const [name, tensor] of inputs) this.#inputs.set(name, this.#place(tensor));
      this.#watchNumbers();
      const context = new Context(this.#runtime, core, this.#kept, this.#planned, this.#opset, runInner);
      return runSchedule(context, this.#schedule, this.#inputs);
    });
    for (;;) {
      const step = core.record(this.#tape, () => aSlice(recording));
      if (step.done) {
        this.#outputs = step.value;
        this.#compose();
        return;
      }
      await core.host.yieldToEvents();
      try {
        signal?.throwIfAborted();
        core.checkOpen('run a model');
      } catch (reason) {
        core.record(this.#tape, () => recording.throw(reason));
      }
    }
  }

  #compose(): void {
    if (!this.isReplayable) return;
    const core = this.#core;
    const plan = (problem: MoveProblem) => planArray(core, problem);
    const wanted = addressesOf(this.#outputs);
    core.record(this.#tape, () => composeMoves(this.#tape, wanted, plan));
    this.#tape.pair(wanted);
  }

  /** The second part: what the nodes want is run. */
  async runFirst(options: AsyncOptions): Promise<Record<string, Tensor>> {
    if (this.isReplayable) {
      const pending = this.#ready().runFirst(controlOf(options));
      if (pending) await pending;
    } else options.onProgress?.({ phase: 'run', done: 1, total: 1 });
    return this.#results();
  }

  /** Numbers of the host are worked with while recording: a replay would work with the same ones again. */
  #watchNumbers(): void {
    const read = new Set(this.#schedule.nodes.flatMap(readBy));
    for (const [name, value] of this.#inputs)
      if (!value.tensor && read.has(name)) this.#tape.spoil(`the input ${name} holds ${value.type}`);
  }

  async run(
    inputs: ReadonlyMap<string, Tensor>,
    options: AsyncOptions,
    each?: EachStep,
  ): Promise<Record<string, Tensor>> {
    for (const [name, tensor] of inputs) this.#inputs.get(name)!.tensor?.data.set(toNumbers(tensor));
    this.#refresh();
    const replay = this.#ready();
    const pending = each ? replay.runEach(each) : replay.run(controlOf(options));
    if (pending) await pending;
    return this.#results();
  }

  #refresh(): void {
    for (const { tensor, fill } of this.#planned.fresh) fill(tensor.data);
  }

  #ready(): Replay {
    const written = this.#planned.fresh.map(({ tensor }) => tensor.block.address);
    this.#replay ??= new Replay(
      this.#core,
      this.#tape,
      [...addressesOf(this.#inputs.values()), ...written],
      addressesOf(this.#outputs),
    );
    return this.#replay;
  }

  /** Runs step by step beside the reference; slow. */
  compare(
    inputs: ReadonlyMap<string, Tensor>,
    tolerance: number,
    opOf: (label: string) => string,
  ): Comparison {
    for (const [name, tensor] of inputs) this.#inputs.get(name)!.tensor?.data.set(toNumbers(tensor));
    let [unchecked, worst, departs] = [
      0,
      undefined as Departure | undefined,
      undefined as Departure | undefined,
    ];
    for (const step of this.#tape.steps) {
      const wanted = referenceOf(this.#core, step);
      this.#core.executor.runSync(step.execution, step.operands);
      if (!wanted) {
        unchecked++;
        continue;
      }
      const off = departureOf(this.#core, step, wanted);
      const { key: problem, plan } = step.execution;
      const found = { node: step.label, op: opOf(step.label), problem, kernel: plan.kernel, off };
      if (!worst || off > worst.off) worst = found;
      if (!departs && off > tolerance) departs = found;
    }
    return { steps: this.#tape.steps.length, unchecked, worst, departs };
  }

  dispose(): void {
    this.#replay?.release();
    for (const value of [...this.#outputs, ...this.#inputs.values()]) value.dispose();
    this.#outputs = [];
    this.#inputs.clear();
    this.#planned.dispose();
    this.#core.forget(this.#tape);
  }

  /** Floats go to memory that stays theirs; other numbers may say shapes and are read on the host. */
  #place(tensor: Tensor): Value {
    if (!isFloat(tensor.type)) return Value.ofNumbers(tensor.type, tensor.dims, toNumbers(tensor), false);
    const made = new DenseTensor(this.#core.heap, tensor.dims);
    made.data.set(toNumbers(tensor));
    const value = Value.ofTensor(made, tensor.type);
    return value;
  }

  /** Copies: the memory is written again in the next run. */
  #results(): Record<string, Tensor> {
    const { outputs } = this.#schedule.graph;
    return Object.fromEntries(
      outputs.map(({ name }, i) => {
        const { tensor, numbers, type, shape } = this.#outputs[i]!;
        const from = tensor ? tensor.data : numbers!;
        const data = type === 'float32' ? new Float32Array(from) : fromNumbers(type, from);
        return [name, new Tensor(type, data, shape)];
      }),
    );
  }
}

function addressesOf(values: Iterable<Value>): number[] {
  return [...values].flatMap(({ tensor }) => (tensor ? [tensor.block.address] : []));
}

function controlOf({ signal, onProgress, priority }: AsyncOptions): AsyncControl {
  const report = onProgress && ((done: number, total: number) => onProgress({ phase: 'run', done, total }));
  return { signal, onProgress: report, priority };
}
