/**
 * Runtimes of sessions that bring none: those with equal options share one, so that their threads do not compete for the cores and a
 * session costs what its model costs. A runtime is kept for a moment after its last session, for the next one.
 */
import { coreOf, createRuntime } from '../ops/runtime.ts';
import type { Runtime, RuntimeOptions } from '../ops/types.ts';

/** A session's part in a runtime. */
export interface Lease {
  readonly runtime: Runtime;
  /** The end of the last part closes the runtime, a moment later where that holds little. */
  end(): Promise<void>;
}

/** How long a runtime without sessions is kept. */
export const KEPT_MS = 1000;
/** How much memory it may hold meanwhile, which is of no use to anyone. */
const MOST_KEPT = 128 * 2 ** 20;
/** A memory ends at 4 GiB: models of more weights than this have their own, and a runtime whose memory has grown beyond it is joined no more. */
const MOST_SHARED = 512 * 2 ** 20;

const common = new Map<string, CommonRuntime>();

/** A part in a runtime with these options for a model of so many bytes of weights; the runtime is made where there is none. */
export async function leaseRuntime(options: RuntimeOptions, weights: number): Promise<Lease> {
  const key = weights > MOST_SHARED ? undefined : keyOf(options);
  if (key === undefined) {
    const runtime = await createRuntime(options);
    return { runtime, end: () => runtime.close() };
  }
  const known = common.get(key);
  if (known?.isJoinable) return known.join();
  const fresh: CommonRuntime = new CommonRuntime(createRuntime(options), () => {
    if (common.get(key) === fresh) common.delete(key);
  });
  common.set(key, fresh);
  return fresh.join();
}

class CommonRuntime {
  readonly #made: Promise<Runtime>;
  readonly #forget: () => void;
  #runtime: Runtime | undefined;
  #parts = 0;
  #end: ReturnType<typeof setTimeout> | undefined;

  constructor(made: Promise<Runtime>, forget: () => void) {
    this.#made = made;
    this.#forget = forget;
  }

  get isJoinable(): boolean {
    if (!this.#runtime) return true;
    return !coreOf(this.#runtime).closed && this.#runtime.memory().capacity <= MOST_SHARED;
  }

  async join(): Promise<Lease> {
    this.#parts++;
    clearTimeout(this.#end);
    try {
      this.#runtime = await this.#made;
    } catch (error) {
      this.#forget();
      throw error;
    }
    const runtime = this.#runtime;
    return { runtime, end: () => this.#leave(runtime) };
  }

  async #leave(runtime: Runtime): Promise<void> {
    this.#parts--;
    if (this.#parts > 0) return;
    if (runtime.memory().capacity > MOST_KEPT) return this.#close(runtime);
    // the process may end before the timer does, which does not hold it
    coreOf(runtime).save();
    this.#end = setTimeout(() => void this.#close(runtime), KEPT_MS);
    this.#end.unref?.();
  }

  #close(runtime: Runtime): Promise<void> {
    this.#forget();
    return runtime.close();
  }
}

/**
 * Equal for options that ask for the same; undefined for those that are one caller's own: objects (a store, a listener, limits of memory), and a
 * GPU, which may be lost and is asked for anew by whoever comes next. What is no option at all is always read, and refused.
 */
function keyOf({ gpu, ...others }: RuntimeOptions): string | undefined {
  const { backend = 'auto' } = others;
  if ((gpu !== undefined && gpu !== false) || (backend !== 'auto' && backend !== 'wasm')) return undefined;
  const given = Object.entries(others).filter(([, value]) => value !== undefined);
  if (given.some(([, value]) => typeof value === 'object' || typeof value === 'function')) return undefined;
  return given
    .map(([name, value]) => `${name}=${typeof value} ${String(value)}`)
    .sort()
    .join('\n');
}
