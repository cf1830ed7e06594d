/** A convolution's filters of 8-bit integers kept for many calls: as they were given, and widened into whatever forms plans ask for. */
import type { Address } from '../../backends/types.ts';
import { TesseraeError } from '../../core/errors.ts';
import { type Shape, sizeOf } from '../../core/shape.ts';
import type { Plan } from '../../plan/plan.ts';
import type { IntegerType, QconvProblem } from '../../problem/quantized.ts';
import { lowerFilters } from '../../schedule/lower/quantized.ts';
import { NO_OPERANDS, type Operands } from '../../schedule/operands.ts';
import type { FormMaker } from '../conv-weights.ts';
import type { Heap } from '../tensor.ts';
import { KeptWeights } from '../weight-store.ts';
import { Parameters } from './operands.ts';
import type { PrepackedFilters } from './types.ts';

/** Where the filters of a plan are; packed ones are read as panels, others in the place of those that were given. */
interface Placed {
  readonly address: Address;
  readonly packed: boolean;
}

interface Recent extends Placed {
  readonly layout: string;
  readonly groups: number;
}

export class IntegerFilters extends KeptWeights implements PrepackedFilters {
  readonly dtype: IntegerType;
  readonly zeros: readonly number[];
  readonly #recent = new WeakMap<Plan, Recent>();

  constructor(heap: Heap, shape: Shape, dtype: IntegerType, zeros: readonly number[]) {
    super(heap, shape, sizeOf(shape));
    this.dtype = dtype;
    this.zeros = zeros;
  }

  /** The form that a plan reads, made now if no plan has asked for it before. */
  formFor(core: FormMaker, p: QconvProblem, plan: Plan): Placed {
    const { layout, groups } = p.plain;
    const recent = this.#recent.get(plan);
    if (recent && recent.layout === layout && recent.groups === groups) return recent;
    const placed = this.#findForm(core, p, plan);
    this.#recent.set(plan, { layout, groups, ...placed });
    return placed;
  }

  #findForm(core: FormMaker, p: QconvProblem, plan: Plan): Placed {
    const { layout, groups } = p.plain;
    const { name, elements, packed, program } = lowerFilters(p, plan);
    const address = this.store.form(`${layout} g${groups} ${name}`, 4 * elements, (to) => {
      const swapped = layout === 'nchw';
      const one = [1];
      const zero = [0];
      const values = { zeroA: zero, zeroB: this.zeros, scaleA: one, scaleB: one, scaleY: 1, zeroY: 0 };
      const parameters = new Parameters(core.heap, () => values, { swapped });
      const raw = this.store.raw();
      const sides = swapped ? { a: raw, packedA: to } : { b: raw, packedB: to };
      const quantized = parameters.place();
      try {
        core.executor.runOnce(program, { ...NO_OPERANDS, ...sides, quantized }, packed ? undefined : to);
      } finally {
        parameters.done();
      }
    });
    return { address, packed };
  }
}

/** A convolution's operands with filters in the form that its plan reads. */
export function filterOperands(
  { address, packed }: Placed,
  swapped: boolean,
  image: number,
  raw: number,
): Pick<Operands, 'a' | 'b' | 'packedA' | 'packedB'> {
  const filters = packed ? raw : address;
  const panels = packed ? address : undefined;
  return swapped ? { a: filters, b: image, packedA: panels } : { a: image, b: filters, packedB: panels };
}

/** Filters of this runtime, or undefined for anything else. */
export function readIntegerFilters(heap: Heap, value: unknown): IntegerFilters | undefined {
  if (!(value instanceof IntegerFilters)) return undefined;
  const { shape } = value;
  if (value.heap !== heap)
    throw new TesseraeError('E_FOREIGN', 'w was prepacked by another runtime', { shape }, 'Prepack it here.');
  if (value.disposed)
    throw new TesseraeError(
      'E_DISPOSED',
      'w is disposed prepacked filters',
      { shape },
      'Dispose them after their last use.',
    );
  return value;
}
