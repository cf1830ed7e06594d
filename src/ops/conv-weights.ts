/** A convolution's weights kept for many calls, in whatever forms their algorithms have asked for. */
import type { Address } from '../backends/types.ts';
import { TesseraeError } from '../core/errors.ts';
import { type Shape, sizeOf } from '../core/shape.ts';
import type { Plan } from '../plan/plan.ts';
import type { ConvAlgorithm, ConvProblem, Layout } from '../problem/conv.ts';
import type { Executor } from '../schedule/execute.ts';
import { lowerWeights } from '../schedule/lower/conv.ts';
import { weightForm } from '../schedule/lower/weights.ts';
import { NO_OPERANDS } from '../schedule/operands.ts';
import type { Heap, Remote, Source } from './tensor.ts';
import type { PrepackedConv, TensorLike } from './types.ts';
import { type Fill, KeptWeights } from './weight-store.ts';

/** What of a runtime makes forms. */
export interface FormMaker {
  readonly heap: Heap;
  readonly executor: Executor;
}

export class ConvWeights extends KeptWeights implements PrepackedConv, Source {
  readonly algorithm: ConvAlgorithm | undefined;
  /** Forms by the plan that asked: planners hand out one object per problem, and forms stay until all is disposed. */
  readonly #recent = new WeakMap<
    Plan,
    { readonly layout: Layout; readonly groups: number; readonly address: Address | undefined }
  >();

  constructor(heap: Heap, shape: Shape, algorithm: ConvAlgorithm | undefined, fill?: Fill) {
    super(heap, shape, 4 * sizeOf(shape), fill);
    this.algorithm = algorithm;
  }

  /** The copy on the GPU, once there is one: weights that are kept never change. */
  get remote(): Remote | undefined {
    return this.store.remote;
  }

  get elements(): number {
    return sizeOf(this.shape);
  }

  get isAway(): boolean {
    return false;
  }

  hold(): () => void {
    this.store.hold();
    return () => this.store.release();
  }

  fetch(): undefined {
    return undefined;
  }

  values(): Float32Array {
    const first = this.store.raw() >>> 2;
    return this.heap.floats().subarray(first, first + this.elements);
  }

  /** Keeps a copy on the GPU for further calls. */
  keep(remote: Remote): void {
    this.store.remote = remote;
  }

  /** Address of the weights as they were given. */
  raw(): Address {
    return this.store.raw();
  }

  /** Address of the form that a plan reads, made now if no plan has asked for it before; undefined if it reads them as given, where `raw` is. */
  formFor(core: FormMaker, p: ConvProblem, plan: Plan): Address | undefined {
    // saying which form it is lists all of its steps: once for a plan is enough
    const recent = this.#recent.get(plan);
    if (recent && recent.layout === p.layout && recent.groups === p.groups) return recent.address;
    const address = this.#findForm(core, p, plan);
    this.#recent.set(plan, { layout: p.layout, groups: p.groups, address });
    return address;
  }

  #findForm(core: FormMaker, p: ConvProblem, plan: Plan): Address | undefined {
    const form = weightForm(p, plan);
    if (!form) return undefined;
    const name = `${p.layout} g${p.groups} ${form.name}`;
    return this.store.form(name, 4 * form.elements, (address) =>
      this.store.borrow((raw) => {
        const sides = p.layout === 'nchw' ? { a: raw, packedA: address } : { b: raw, packedB: address };
        core.executor.runOnce(lowerWeights(p, plan)!, { ...NO_OPERANDS, ...sides });
      }),
    );
  }
}

/** Prepacked weights of this runtime, or undefined for anything else. */
export function readConvWeights(heap: Heap, value: TensorLike | PrepackedConv): ConvWeights | undefined {
  if (!(value instanceof ConvWeights)) return undefined;
  if (value.heap !== heap) {
    throw new TesseraeError(
      'E_FOREIGN',
      'w was prepacked by another runtime',
      { operand: 'w', shape: value.shape },
      'Prepack it with this runtime.',
    );
  }
  if (value.disposed) {
    throw new TesseraeError(
      'E_DISPOSED',
      'w is disposed prepacked weights',
      { operand: 'w', shape: value.shape },
      'Dispose them after their last use.',
    );
  }
  return value;
}
