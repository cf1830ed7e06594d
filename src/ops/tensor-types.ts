/** What every operation takes and gives: tensors, and the options of a call that waits. Part of the public contract in types.ts. */
import type { Priority } from '../backends/types.ts';

/** Element types and the arrays that hold them. */
export interface TypedArrays {
  readonly f32: Float32Array;
  readonly i8: Int8Array;
  readonly u8: Uint8Array;
  readonly i32: Int32Array;
}

export type DType = keyof TypedArrays;

export type Location = 'wasm' | 'gpu' | 'both';

/** How a GPU keeps elements: as floats, or as halves (IEEE 754 binary16). */
export type Storage = 'f32' | 'f16';

export interface ToOptions {
  /**
   * For `to('gpu')`: `'f16'` keeps the values there in half the room, each rounded to one of the two nearest halves (11 significant bits;
   * beyond 65504 they become infinite). The tensor then holds the rounded values, wherever it is read. Products and convolutions
   * take such operands as they are and sum them as floats; other calls widen them first. `'f32'` keeps floats. Default: as
   * they are, floats at first.
   */
  readonly storage?: Storage;
}

/** A dense row-major array that lives in the runtime's memory; of floats unless said otherwise. */
export interface Tensor<D extends DType = 'f32'> {
  readonly dtype: D;
  readonly shape: readonly number[];
  /** Element count. */
  readonly size: number;
  /** A live view of the bytes, no copy. Do not keep it over a call that allocates: ask again instead. */
  readonly data: TypedArrays[D];
  /** Where the values are: in the runtime's memory, on the GPU, or in both places alike. */
  readonly location: Location;
  /**
   * The values, brought to memory first if they lie on the GPU: a live view like `data`, to be read only. `data` is there for
   * writing too, so using it makes the copy in memory the only one.
   * @throws `E_GPU_LOST` where they went away with the GPU.
   */
  read(): Promise<TypedArrays[D]>;
  /** How the GPU keeps the values; `'f32'` where they are in memory only. */
  readonly storage: Storage;
  /**
   * Copies the values to the GPU, or moves them to memory; calls find them there.
   * @example
   * const weights = await rt.tensor(values, [4096, 4096]).to('gpu', { storage: 'f16' });
   * @throws `E_GPU` where there is no GPU.
   */
  to(where: 'gpu' | 'wasm', options?: ToOptions): Promise<this>;
  /**
   * A handle of the values for another thread that has joined the runtime, which takes them with `rt.adopt(handle)`: no byte is copied. Each
   * handle is for one adoption, and keeps the values alive until then; both tensors must be disposed.
   */
  share(): SharedTensor;
  readonly disposed: boolean;
  /** Gives the memory back; using the tensor afterwards throws `E_DISPOSED`. Disposing twice is harmless. */
  dispose(): void;
  [Symbol.dispose](): void;
}

/** A plain typed array with its shape, accepted wherever a tensor is; copied in for the call. */
export interface ArrayWithShape<D extends DType = 'f32'> {
  readonly data: TypedArrays[D];
  readonly shape: readonly number[];
}

export type TensorLike<D extends DType = 'f32'> = Tensor<D> | ArrayWithShape<D>;

export interface Progress {
  readonly phase: 'run' | 'tune' | 'prepare';
  readonly done: number;
  readonly total: number;
}

export interface AsyncOptions {
  readonly signal?: AbortSignal;
  /** Called between tiles at most every 50 ms, with done rising to total. */
  readonly onProgress?: (progress: Progress) => void;
  /** Who waits for the call. It overtakes what is less urgent at the next border between two tiles; `'background'` never computes on the
   *  calling thread. Calls on a GPU are not overtaken once they are sent. Default `'normal'`. */
  readonly priority?: Priority;
}

/** Options of calls that a GPU may compute. */
export interface PlacedOptions extends AsyncOptions {
  /** Where the result is wanted. Default: on the GPU if an operand lies there, else in the runtime's memory. */
  readonly result?: 'wasm' | 'gpu';
}

/** What `rt.share()` makes: to be posted to one other thread, with its port in the list of what is transferred. */
export interface SharedRuntime {
  readonly tesserae: string;
  /** Of the runtime. */
  readonly id: string;
  readonly client: number;
  /** A MessagePort. Node's types and browsers' each want their own kind in a list of what is transferred; this goes into both. */
  // biome-ignore lint/suspicious/noExplicitAny: no type is assignable to both, and a package without Node's types must compile
  readonly port: any;
  /** A WebAssembly.Memory, which not every set of types knows. */
  readonly memory: object;
  readonly mailbox: number;
  readonly timeoutMs: number;
}

/** What `tensor.share()` makes: plain data, to be posted to any thread that has joined the runtime, and adopted there once. */
export interface SharedTensor {
  readonly runtime: string;
  readonly ticket: number;
  readonly shape: readonly number[];
  readonly dtype: DType;
}
