/** Kernels that a user writes: part of the public contract in ../types.ts. */
import type { Activation } from '../../problem/epilogue.ts';
import type { PlacedOptions, Tensor, TensorLike } from '../tensor-types.ts';

export interface KernelOptions {
  /** How the kernel is called in events and errors. Default: the function's name, or `kernel`. */
  readonly name?: string;
  /** Numbers that the function reads as `this.constants.name`. */
  readonly constants?: Readonly<Record<string, number>>;
}

export interface KernelRunOptions {
  /** Result tensor to write into. It may be an input as well. */
  readonly out?: Tensor;
}

/** A function of the user's over the elements of tensors; made by `rt.kernel`. */
export interface UserKernel {
  readonly name: string;
  /** Where it has run, and what was measured there: nanoseconds an element, moving not included. */
  readonly measured: { readonly cpu: number | undefined; readonly gpu: number | undefined };
  /** Why it does not run on the GPU, or undefined. */
  readonly noGpu: string | undefined;
  /**
   * Applies the function to elements in the same place of all inputs: shapes are equal, an input of one element goes with all.
   * On the GPU (through gpu.js) where that is measured to be faster or was asked for, else on the calling thread.
   * @throws `E_SHAPE`, `E_DTYPE`, `E_ARGUMENT`, `E_DISPOSED`, `E_MEMORY`, `E_GPU_LOST`.
   */
  run(inputs: readonly TensorLike[], options?: KernelRunOptions & PlacedOptions): Promise<Tensor>;
  /** The same on the calling thread, before it returns. */
  runSync(inputs: readonly TensorLike[], options?: KernelRunOptions): Tensor;
  /** Gives back what it has on the GPU. */
  dispose(): void;
  [Symbol.dispose](): void;
}

/** Options of an operation whose activation may also be a kernel of the user's, of one input. */
export type WithKernel<O> = Omit<O, 'activation'> & {
  /** A kernel is applied to the result in place, where the result lies. */
  readonly activation?: Activation<TensorLike> | UserKernel;
};
