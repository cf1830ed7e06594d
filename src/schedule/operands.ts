/** Where a call's values lie, and where the space is found that it needs besides. */
import type {
  Address,
  Backend,
  Call,
  Chain,
  ChainBackend,
  Linked,
  Prepared,
  RawOperands,
} from '../backends/types.ts';
import { roundUp } from '../core/math.ts';
import type { Program, Staging } from '../plan/program.ts';
import { inSequence, type Wave } from '../plan/waves.ts';
import { resultElements } from '../problem/problem.ts';

/** Addresses and scalars of a call; packing space and the copy of the old result are found here. */
export type Operands = Omit<Call, 'packedA' | 'packedB' | 'c0' | 'own' | 'raw'> & {
  /** Panels made in advance. */
  readonly packedA?: Address | undefined;
  readonly packedB?: Address | undefined;
  /** What is added to the result, where that is not its own old value. */
  readonly c0?: Address | undefined;
  /** Zero points and scales of 8-bit operands. */
  readonly quantized?: Address | undefined;
};

/** Operands of a call that has none: what is left out is never read. */
export const NO_OPERANDS: Operands = { a: 0, b: 0, c: 0, bias: 0, slope: 0, alpha: 1, beta: 0, p0: 0, p1: 0 };

/** What stands in for a call's own operands and result while 8-bit integers are multiplied. */
export function staged(
  operands: Operands,
  { a, b, c }: Staging,
  space: Address,
): { a: Address; b: Address; c: Address; raw: RawOperands } {
  const at = (own: Address, offset: number | undefined) => (offset === undefined ? own : space + 4 * offset);
  const { quantized = 0 } = operands;
  return {
    a: at(operands.a, a),
    b: at(operands.b, b),
    c: at(operands.c, c),
    raw: { a: operands.a, b: operands.b, out: operands.c, quantized, space },
  };
}

/** The call with packing space and a place for the old result, all from `take`. */
export function placeCall(
  backend: Backend,
  program: Program,
  operands: Operands,
  threads: number,
  take: (bytes: number) => Address,
): Call {
  const { problem, epilogue, packedAElements, packedBElements, privateElements, staging } = program;
  const { a, b, c, bias, slope, alpha, beta, p0, p1 } = operands;
  const c0 = operands.c0 ?? (epilogue.keepOld ? take(4 * resultElements(problem)) : 0);
  const packedA = operands.packedA ?? take(4 * packedAElements);
  const packedB = operands.packedB ?? take(4 * packedBElements);
  const own = privateElements > 0 ? take(backend.ownBytes(program, threads)) : 0;
  const call = { a, b, c, c0, bias, slope, packedA, packedB, own, alpha, beta, p0, p1 };
  return staging ? { ...call, ...staged(operands, staging, take(4 * staging.elements)) } : call;
}

/** As backends align what they allocate, and what may be read behind it. */
const ALIGN = 64;
const SLACK = 128;

interface Part {
  readonly prepared: Prepared;
  readonly operands: Operands;
  readonly before?: Omit<Part, 'before'> | undefined;
}

/** Links calls over one space, of which those of a wave have parts of their own: none begins before the waves before its own are done. */
export function placeChain(
  backend: ChainBackend,
  parts: readonly Part[],
  threads: number,
  waves: readonly Wave[] = inSequence(parts.length),
): { chain: Chain; release(): void } {
  const placed = (base: Address) => {
    let most = 0;
    const calls: Linked[] = [];
    for (const wave of waves) {
      let end = 0;
      for (const index of wave) {
        const place = ({ prepared, operands }: Omit<Part, 'before'>) => {
          const call = placeCall(backend, prepared.program, operands, threads, (bytes) => {
            if (bytes === 0) return 0;
            const at = base + end;
            end += roundUp(bytes + SLACK, ALIGN);
            return at;
          });
          return { prepared, call };
        };
        const { before } = parts[index]!;
        calls[index] = { before: before && place(before), ...place(parts[index]!) };
      }
      most = Math.max(most, end);
    }
    return { calls, most };
  };
  const { most } = placed(0);
  const space = most > 0 ? backend.allocate(most, 'scratch') : 0;
  const giveBack = () => {
    if (space) backend.free(space);
  };
  try {
    const chain = backend.link(placed(space).calls, waves, threads);
    const release = () => {
      chain.release();
      giveBack();
    };
    return { chain, release };
  } catch (error) {
    giveBack();
    throw error;
  }
}
