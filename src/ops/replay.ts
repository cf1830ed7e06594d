/** Where a recorded run is run again: on the threads or, where there is a GPU and it is the faster place, there. */
import type { Address } from '../backends/types.ts';
import { isLoss } from '../backends/webgpu/backend.ts';
import { systemClock } from '../core/clock.ts';
import type { AsyncControl } from '../schedule/execute.ts';
import { ApartTape } from './apart/tape.ts';
import type { Core } from './core.ts';
import type { GpuPlace } from './gpu/place.ts';
import { GpuTape } from './gpu/tape.ts';
import type { EachStep, Tape } from './tape.ts';

/** A run that is expected to take longer goes to another thread where that shares no memory with this one. */
const APART_MS = 5;
/** Runs on each side before one of them is chosen: the first ones compile, and the fastest of the others counts. */
const TRIAL_RUNS = 4;

export class Replay {
  readonly #core: Core;
  readonly #tape: Tape;
  readonly #given: readonly Address[];
  readonly #wanted: readonly Address[];
  #there: GpuTape | undefined;
  #apart: ApartTape | undefined;
  #isHere: boolean;

  /** `given` are the tensors that are written before each run, `wanted` those that are read after it. */
  constructor(core: Core, tape: Tape, given: readonly Address[], wanted: readonly Address[]) {
    this.#core = core;
    this.#tape = tape;
    this.#given = given;
    this.#wanted = wanted;
    this.#isHere = !core.gpu?.isWelcome;
    const { apart } = core;
    if (this.#isHere && apart && tape.ms > APART_MS && ApartTape.canMove(core, tape))
      this.#apart = new ApartTape(core, apart, tape, given, wanted);
  }

  /** What was recorded and not executed yet: on the threads, for those are ready, while a GPU is still to be measured. */
  runFirst(control: AsyncControl): void | Promise<void> {
    return this.#apart ? this.#runApart(this.#apart, control) : this.#tape.replay(control);
  }

  run(control: AsyncControl): void | Promise<void> {
    if (this.#apart) return this.#runApart(this.#apart, control);
    return this.#isHere ? this.#tape.replay(control) : this.#runPlaced(control);
  }

  /** Step by step, to find out what each takes. */
  async runEach(each: EachStep): Promise<void> {
    const there = await this.#placed();
    return there ? there.runEach((step, ms) => each(step, ms)) : this.#tape.replayEach(each);
  }

  release(): void {
    this.#apart?.release();
    this.#apart = undefined;
    this.#there?.release();
    this.#there = undefined;
    this.#isHere = true;
  }

  /** On a thread with a memory of its own, so that the calling one is free; here where none comes up. */
  async #runApart(apart: ApartTape, control: AsyncControl): Promise<void> {
    const core = this.#core;
    if ((await core.apart!.open()) !== undefined) return this.#tape.replay(control);
    core.checkOpen('compute');
    await core.pacer.during(control, () => apart.run(control), 1 / core.apart!.threads);
  }

  /** Again on a GPU that came back once; in memory after all where it does not: the given tensors are still here. */
  async #runPlaced(control: AsyncControl): Promise<void> {
    for (let attempt = 0; attempt < 2; attempt++) {
      try {
        const there = await this.#placed();
        if (!there) break;
        return await this.#core.pacer.during(control, () =>
          this.#core.profiling.isOn ? this.#profile(there, control) : there.run(control),
        );
      } catch (error) {
        if (!isLoss(error)) throw error;
        this.#core.checkOpen('compute');
        this.#there?.release();
        this.#there = undefined;
        if (!(await this.#core.gpu!.reopen())) break;
      }
    }
    this.#core.checkOpen('compute');
    await this.#tape.replay(control);
  }

  /** Step by step; what runs on the threads is observed there. */
  #profile(there: GpuTape, { signal }: AsyncControl): Promise<void> {
    return there.runEach(({ execution, label }, ms, backend) => {
      signal?.throwIfAborted();
      if (backend === 'wasm') return;
      const { problem, key, plan } = execution;
      const kernel = `${plan.algorithm} ${plan.kernel}`;
      this.#core.profiling.add({ name: problem.op, problem: key, backend, kernel, label }, ms);
    });
  }

  async #placed(): Promise<GpuTape | undefined> {
    const { gpu } = this.#core;
    if (this.#isHere || this.#there || !gpu) return this.#there;
    const there = await GpuTape.make(this.#core, gpu, this.#tape, this.#given, this.#wanted);
    try {
      if (there && (gpu.forced || (await this.#isFaster(gpu, there)))) this.#there = there;
      else this.#isHere = true;
      return this.#there;
    } finally {
      if (!this.#there) there?.release();
    }
  }

  async #isFaster({ profile }: GpuPlace, there: GpuTape): Promise<boolean> {
    const fastest = async (run: () => void | Promise<void>): Promise<number> => {
      let ms = Number.POSITIVE_INFINITY;
      for (let turn = 0; turn < TRIAL_RUNS; turn++) {
        const start = systemClock.now();
        await run();
        if (turn > 0) ms = Math.min(ms, systemClock.now() - start);
      }
      return ms;
    };
    const here = await fastest(() => this.#tape.replay({}));
    // one call and its way back alone take longer: nothing to try
    if (here < profile.launchMs + profile.readbackMs) return false;
    return (await fastest(() => there.run({}))) < here;
  }
}
