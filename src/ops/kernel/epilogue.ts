/** A user's kernel as what follows a sum: it is applied to the result in place, where the result lies. */
import { badArgument } from '../arguments.ts';
import type { PlacedOptions, Tensor } from '../types.ts';
import { arityOf } from './kernel.ts';
import type { UserKernel, WithKernel } from './types.ts';

/** The kernel that the options end in. @throws `E_ARGUMENT` for one of several inputs. */
function kernelOf(options: WithKernel<object>): UserKernel | undefined {
  const { activation } = (options ?? {}) as WithKernel<object>;
  const arity = arityOf(activation);
  if (arity === undefined) return undefined;
  if (arity === 1) return activation as UserKernel;
  throw badArgument('activation', activation, `A kernel of one input; this one has ${arity}.`);
}

function without({ activation: _kernel, ...rest }: WithKernel<object>): object {
  return rest;
}

/** Computes with the kernel at the end, if there is one. */
export function endingIn<O>(
  options: WithKernel<O> & PlacedOptions,
  compute: (options: O & PlacedOptions) => Promise<Tensor>,
): Promise<Tensor> {
  let kernel: UserKernel | undefined;
  try {
    kernel = kernelOf(options);
  } catch (error) {
    return Promise.reject(error);
  }
  // whoever has none waits for nothing more than the sum
  return kernel ? applied(kernel, options, compute) : compute(options as O & PlacedOptions);
}

async function applied<O>(
  kernel: UserKernel,
  options: WithKernel<O> & PlacedOptions,
  compute: (options: O & PlacedOptions) => Promise<Tensor>,
): Promise<Tensor> {
  const sum = await compute(without(options) as O & PlacedOptions);
  const { signal, priority, result } = options;
  try {
    return await kernel.run([sum], {
      out: sum,
      ...(signal ? { signal } : {}),
      ...(priority ? { priority } : {}),
      ...(result ? { result } : {}),
    });
  } catch (error) {
    // the caller's own tensor stays
    if (!('out' in options)) sum.dispose();
    throw error;
  }
}

export function endingInSync<O>(options: WithKernel<O>, compute: (options: O) => Tensor): Tensor {
  const kernel = kernelOf(options);
  if (!kernel) return compute(options as O);
  const sum = compute(without(options) as O);
  return kernel.runSync([sum], { out: sum });
}
