/**
 * Frames through stages: all of them work on different frames at once, each on one frame or as many as it has workers; the order stays.
 * Between two stages one frame waits. A frame that comes while the first stage is busy waits there; if another one comes meanwhile, the older of the two is
 * dropped (what is shown live must be new), or, where all frames are wanted, the source is held up.
 */
import type { Clock } from '../bench/types.ts';

export interface Stage {
  readonly name: string;
  /** Each works on a frame of its own. */
  readonly workers: readonly ((value: unknown) => Promise<unknown>)[];
}

export interface StageTimes {
  readonly name: string;
  /** Milliseconds of each frame that went through. */
  readonly ms: readonly number[];
}

export interface Flow {
  readonly frames: number;
  readonly dropped: number;
  readonly stages: readonly StageTimes[];
  /** Milliseconds from a frame's coming to its result. */
  readonly latency: readonly number[];
  /** From the first frame's coming to the last result. */
  readonly ms: number;
}

export interface FlowOptions {
  /** Drop frames that nobody has time for. */
  readonly live: boolean;
  readonly now: Clock;
  readonly signal?: AbortSignal | undefined;
  readonly onResult: (index: number, result: unknown) => void;
}

interface Frame {
  readonly index: number;
  readonly value: unknown;
  readonly came: number;
}

/** Between two stages: holds one frame. */
class Slot {
  #frame: Frame | undefined;
  #isEnded = false;
  #changed: (() => void)[] = [];

  get isFull(): boolean {
    return this.#frame !== undefined;
  }

  /** Waits until there is room, or nobody wants any more. */
  async put(frame: Frame): Promise<void> {
    while (this.#frame !== undefined && !this.#isEnded) await this.#change();
    this.replace(frame);
  }

  replace(frame: Frame): void {
    this.#frame = frame;
    this.#tell();
  }

  /** Undefined when no more will come. */
  async take(): Promise<Frame | undefined> {
    while (this.#frame === undefined && !this.#isEnded) await this.#change();
    const frame = this.#frame;
    this.#frame = undefined;
    this.#tell();
    return frame;
  }

  end(): void {
    this.#isEnded = true;
    this.#tell();
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#changed.push(resolve));
  }

  #tell(): void {
    for (const wake of this.#changed.splice(0)) wake();
  }
}

/** Runs all frames of a source through all stages. The first failure of a stage ends everything and is thrown. */
export async function flow(
  source: AsyncIterable<unknown>,
  stages: readonly Stage[],
  { live, now, signal, onResult }: FlowOptions,
): Promise<Flow> {
  const slots = [...stages.map(() => new Slot()), new Slot()];
  const times = stages.map(({ name }) => ({ name, ms: [] as number[] }));
  const latency: number[] = [];
  let [frames, dropped, began, ended] = [0, 0, Number.NaN, Number.NaN];
  let hasFailed = false;
  let giveUp: (error: unknown) => void = () => undefined;
  const failure = new Promise<never>((_, reject) => {
    giveUp = reject;
  });
  const fail = (error: unknown) => {
    hasFailed = true;
    for (const slot of slots) slot.end();
    giveUp(error);
  };

  const feed = async () => {
    for await (const value of source) {
      if (hasFailed || signal?.aborted) break;
      const frame = { index: frames++, value, came: now() };
      if (frames === 1) began = frame.came;
      const [first] = slots as [Slot];
      if (live && first.isFull) {
        dropped++;
        first.replace(frame);
      } else await first.put(frame);
    }
    slots[0]!.end();
  };

  const work = async ({ workers }: Stage, at: number) => {
    let before: Promise<void> = Promise.resolve();
    const one = async (run: Stage['workers'][number]) => {
      for (;;) {
        const frame = await slots[at]!.take();
        if (!frame || hasFailed) break;
        const [last, start] = [before, now()];
        const done = run(frame.value).then(async (value) => {
          times[at]!.ms.push(now() - start);
          await last;
          await slots[at + 1]!.put({ ...frame, value });
        });
        before = done.catch(() => undefined);
        await done;
      }
    };
    await Promise.all(workers.map(one));
    slots[at + 1]!.end();
  };

  const collect = async () => {
    for (;;) {
      const frame = await slots.at(-1)!.take();
      if (!frame || hasFailed) break;
      ended = now();
      latency.push(ended - frame.came);
      onResult(frame.index, frame.value);
    }
  };

  // a source that nobody asks any more may never say anything: a failure does not wait for it
  const all = Promise.all([feed(), ...stages.map(work), collect()].map((part) => part.catch(fail)));
  await Promise.race([all, failure]);
  return { frames, dropped, stages: times, latency, ms: ended - began };
}
