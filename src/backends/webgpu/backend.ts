/**
 * The WebGPU backend: one device, its memory and its pipelines. Calls are recorded; they are submitted together when a result is
 * read, when many have gathered, or at the end of the turn of the event loop.
 */
import { TesseraeError } from '../../core/errors.ts';
import type {
  GpuBuffer,
  GpuCommandEncoder,
  GpuDevice,
  GpuError,
  GpuPassEncoder,
  GpuPipeline,
} from '../../core/webgpu.ts';
import { MAP_READ, USAGE } from '../../core/webgpu.ts';
import { BindGroups } from './bind-groups.ts';
import { Buffers, type GpuBlock } from './buffers.ts';
import type { Launch } from './launch.ts';
import type { AdapterReport, OpenedGpu } from './open.ts';
import { ParamsSlab } from './params-slab.ts';
import { Pipelines } from './pipelines.ts';
import type { Scalars } from './wgsl/params.ts';
import type { Binding } from './wgsl/product.ts';

/** Two stamps of 64 bits. */
const STAMPS_BYTES = 16;

/** Scalars of sums that others finish. */
const SUM_ALONE: Scalars = { alpha: 1, beta: 0, p0: 0, p1: 0 };

const NOTHING_WRONG = Promise.resolve(null);
/** Names that are remembered: shapes that come and go must not gather. */
const TAKEN_MOST = 4096;

export type Blocks = Partial<Readonly<Record<Exclude<Binding, 'params' | 'table'>, GpuBlock>>>;

export function deviceLost(reason: string): TesseraeError {
  return new TesseraeError(
    'E_GPU_LOST',
    `the GPU was lost: ${reason}`,
    { reason },
    'What lay only on the GPU is gone; make it again. The runtime opens the GPU anew at the next call.',
  );
}

/** Whether a call ended with the GPU. */
export function isLoss(error: unknown): boolean {
  return error instanceof TesseraeError && error.code === 'E_GPU_LOST';
}

export class WebGpuBackend {
  readonly name = 'webgpu';
  readonly report: AdapterReport;
  readonly device: GpuDevice;
  readonly buffers: Buffers;
  readonly #pipelines: Pipelines;
  readonly #params: ParamsSlab;
  readonly #groups: BindGroups;
  /** Workgroups along one dimension of a dispatch. */
  readonly mostGroups: number;
  /** Names of work that the device found nothing wrong with. */
  readonly #taken = new Set<string>();
  readonly #owned: boolean;
  /** Rejects when the device is lost. */
  readonly #gone: Promise<never>;
  #lost: string | undefined;
  #closed = false;
  #encoder: GpuCommandEncoder | undefined;
  #pass: GpuPassEncoder | undefined;
  #flushing = false;
  readonly #busy = new Set<Promise<unknown>>();

  constructor({ device, report, owned }: OpenedGpu, onLost: (reason: string) => void) {
    this.device = device;
    this.report = report;
    this.mostGroups = device.limits.maxComputeWorkgroupsPerDimension;
    this.buffers = new Buffers(device, () => this.#commands());
    this.#groups = new BindGroups(device);
    this.#pipelines = new Pipelines(device, this.#groups);
    this.#params = new ParamsSlab(device);
    this.#owned = owned;
    this.#gone = device.lost.then(({ reason, message }) => {
      this.#lost = message || reason;
      if (!this.#closed) onLost(this.#lost);
      throw deviceLost(this.#lost);
    });
    this.#gone.catch(() => undefined);
  }

  get lost(): boolean {
    return this.#lost !== undefined;
  }

  get pipelines(): number {
    return this.#pipelines.size;
  }

  pipeline(launch: Launch): GpuPipeline | Promise<GpuPipeline> {
    this.#check();
    const pipeline = this.#pipelines.get(launch);
    const after = launch.after && this.#pipelines.get(launch.after.launch);
    if (!(pipeline instanceof Promise || after instanceof Promise)) return pipeline;
    return this.#orLost(Promise.all([pipeline, after]).then(([first]) => first));
  }

  /** Records a call whose pipeline is there. Its blocks may be given back at once: whoever takes them next is recorded behind it. */
  record(launch: Launch, pipeline: GpuPipeline, blocks: Blocks, scalars: Scalars): void {
    this.#check();
    const { after } = launch;
    if (after) {
      const sums = this.buffers.take(after.bytes);
      const second = this.#pipelines.get(after.launch) as GpuPipeline;
      this.#dispatch(launch, pipeline, { ...blocks, c: sums }, SUM_ALONE);
      this.#dispatch(after.launch, second, { ...blocks, a: sums }, scalars);
      this.buffers.giveBack(sums);
    } else this.#dispatch(launch, pipeline, blocks, scalars);
    if (this.#params.isFull) this.flush();
  }

  #dispatch(launch: Launch, pipeline: GpuPipeline, blocks: Blocks, scalars: Scalars): void {
    const most = this.mostGroups;
    const table = launch.table && this.buffers.once(launch.table);
    const group = this.#groups.get(launch.bindings, (name) =>
      name === 'params' ? this.#params.buffer : bufferOf(name, table, blocks),
    );
    const hasParams = launch.bindings[0] === 'params';
    for (let first = 0; first < launch.products; first += most) {
      if (this.#params.isFull) this.flush();
      const pass = this.#computing();
      pass.setPipeline(pipeline);
      if (hasParams) {
        const offset = this.#params.put({ ...launch.params, firstProduct: first }, scalars);
        pass.setBindGroup(0, group, [offset]);
      } else pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(...launch.groups, Math.min(most, launch.products - first));
    }
  }

  /** The commands that wait, between passes. */
  #commands(): GpuCommandEncoder {
    this.#pass?.end();
    this.#pass = undefined;
    if (!this.#encoder) {
      this.#encoder = this.device.createCommandEncoder();
      this.#flushSoon();
    }
    return this.#encoder;
  }

  #computing(): GpuPassEncoder {
    this.#pass ??= this.#commands().beginComputePass();
    return this.#pass;
  }

  /** Records a copy of a block's values to another of its size. */
  copy(from: GpuBlock, to: GpuBlock): void {
    this.#commands().copyBufferToBuffer(from.buffer, 0, to.buffer, 0, 4 * Math.ceil(from.bytes / 4));
  }

  /** Records copies of a block's values over and over, until another block is full of them. */
  repeat(from: GpuBlock, to: GpuBlock): void {
    const commands = this.#commands();
    const bytes = 4 * Math.ceil(to.bytes / 4);
    for (let at = 0; at < bytes; at += from.bytes)
      commands.copyBufferToBuffer(from.buffer, 0, to.buffer, at, Math.min(from.bytes, bytes - at));
  }

  /** Submits what was recorded. */
  flush(): void {
    if (!this.#encoder) return;
    const commands = this.#commands().finish();
    this.#encoder = undefined;
    this.#params.send();
    this.device.queue.submit([commands]);
    this.buffers.submitted();
  }

  /**
   * Watches the device while `work` allocates, records and submits, and throws what it found wrong: E_GPU_MEMORY where there was
   * too little memory, else E_GPU. Work of one name is the same each time: once the device took it, only new memory is watched.
   */
  async watched<T>(what: string, work: () => T): Promise<T> {
    const { device, buffers } = this;
    this.#check();
    buffers.watch();
    const isNew = !this.#taken.has(what);
    if (isNew) device.pushErrorScope('validation');
    let result: T;
    let scopes: readonly Promise<GpuError | null>[];
    try {
      result = work();
    } finally {
      scopes = [...(isNew ? [device.popErrorScope()] : [NOTHING_WRONG]), ...buffers.watched()];
      // where the work failed nobody waits for them
      for (const scope of scopes) scope.catch(() => undefined);
    }
    if (!isNew && scopes.length === 1) return result;
    const [invalid, ...shortages] = await this.#orLost(Promise.all(scopes));
    const memory = shortages.find((error) => error !== null);
    if (memory) {
      throw new TesseraeError(
        'E_GPU_MEMORY',
        `${what}: the GPU has too little memory: ${memory.message}`,
        { what },
        'Dispose tensors that are no longer needed, or use backend wasm.',
      );
    }
    if (invalid) {
      throw new TesseraeError(
        'E_GPU',
        `${what}: the device refused: ${invalid.message}`,
        { what },
        'Please report this with the name of the GPU.',
      );
    }
    if (this.#taken.size >= TAKEN_MOST) this.#taken.clear();
    this.#taken.add(what);
    return result;
  }

  /** Copies a block's values into a view, after everything recorded so far; the view is asked for when they have come, and
   *  nothing is written where `good` rejects. */
  download(block: GpuBlock, into: () => Float32Array, good?: Promise<unknown>): Promise<void> {
    this.#check();
    const { bytes } = block;
    if (bytes === 0) return Promise.resolve();
    const readback = this.buffers.takeReadback(bytes);
    this.#commands().copyBufferToBuffer(block.buffer, 0, readback, 0, bytes);
    this.flush();
    const mapped = readback.mapAsync(MAP_READ, 0, bytes);
    const reading = this.#orLost(Promise.all([mapped, good])).then(
      () => {
        into().set(new Float32Array(readback.getMappedRange(0, bytes)));
        readback.unmap();
        this.buffers.giveBackReadback(readback);
      },
      (error) => {
        if (!this.lost) readback.destroy();
        throw error;
      },
    );
    return this.#track(reading);
  }

  /** Resolves when all that was recorded has run. */
  settle(): Promise<void> {
    this.#check();
    this.flush();
    return this.#track(this.#orLost(this.device.queue.onSubmittedWorkDone()).then(() => undefined));
  }

  /**
   * Milliseconds of the device's own clock from the beginning to the end of what `work` records, and of whatever else is recorded meanwhile;
   * undefined on devices that have no timestamps. Browsers and Dawn round them to some 0.1 ms.
   */
  async stopwatch(work: () => Promise<unknown>): Promise<number | undefined> {
    this.#check();
    const { device } = this;
    if (!device.features.has('timestamp-query')) {
      await work();
      return undefined;
    }
    const querySet = device.createQuerySet({ type: 'timestamp', count: 2 });
    const stamps = device.createBuffer({ size: STAMPS_BYTES, usage: USAGE.queryResolve | USAGE.copySrc });
    const readback = device.createBuffer({ size: STAMPS_BYTES, usage: USAGE.mapRead | USAGE.copyDst });
    const made = [querySet, stamps, readback];
    try {
      this.#commands()
        .beginComputePass({ timestampWrites: { querySet, beginningOfPassWriteIndex: 0 } })
        .end();
      await work();
      const commands = this.#commands();
      commands.beginComputePass({ timestampWrites: { querySet, endOfPassWriteIndex: 1 } }).end();
      commands.resolveQuerySet(querySet, 0, 2, stamps, 0);
      commands.copyBufferToBuffer(stamps, 0, readback, 0, STAMPS_BYTES);
      this.flush();
      await this.#track(this.#orLost(readback.mapAsync(MAP_READ)));
      const [begin = 0n, end = 0n] = new BigUint64Array(readback.getMappedRange());
      return Number(end - begin) / 1e6;
    } finally {
      // commands that use what is destroyed would not be taken, nor those beside them
      if (!this.lost) {
        if (!this.#closed) this.flush();
        for (const one of made) one.destroy();
      }
    }
  }

  /** Lets work in flight end first: a process that ends with a map pending crashes. */
  async close(): Promise<void> {
    if (this.#closed) return;
    if (!this.lost) {
      this.flush();
      await Promise.allSettled([
        ...this.#busy,
        this.device.queue.onSubmittedWorkDone(),
        this.buffers.settle(),
      ]);
    }
    this.#closed = true;
    if (this.#owned) this.device.destroy();
    else if (!this.lost) {
      // the caller's device lives on
      this.buffers.destroy();
      this.#params.destroy();
    }
  }

  #check(): void {
    if (this.#lost !== undefined) throw deviceLost(this.#lost);
    if (this.#closed) throw deviceLost('it was closed');
  }

  /** In a turn of its own: calls that are awaited one after the other still make one submit. */
  #flushSoon(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    const timer: { unref?(): void } = setTimeout(() => {
      this.#flushing = false;
      if (!this.lost && !this.#closed) this.flush();
    }, 0) as never;
    timer.unref?.();
  }

  #orLost<T>(work: Promise<T>): Promise<T> {
    return Promise.race([work, this.#gone]);
  }

  #track<T>(work: Promise<T>): Promise<T> {
    const settled = work.catch(() => undefined);
    this.#busy.add(settled);
    settled.finally(() => this.#busy.delete(settled));
    return work;
  }
}

function bufferOf(name: Exclude<Binding, 'params'>, table: GpuBuffer | undefined, blocks: Blocks): GpuBuffer {
  const buffer = name === 'table' ? table : blocks[name]?.buffer;
  if (!buffer) throw new Error(`nothing is bound to ${name}`);
  return buffer;
}
