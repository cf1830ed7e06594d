/** Convolutions of a recorded run that go as one (plan/pairs.ts): which of them may, by what lies in memory when. */
import type { Address } from '../backends/types.ts';
import { pairOf } from '../plan/pairs.ts';
import type { PlannedCall } from '../schedule/execute.ts';

/** Operands of a step that it reads, where they are addresses. */
const READ = ['a', 'b', 'c0', 'bias', 'slope', 'quantized'] as const;

/** The block of a recorded run that an address lies in; undefined for memory of others. */
type BlockOf = (address: Address) => Address | undefined;

/** The blocks that a step touches. */
interface Touches {
  readonly reads: readonly Address[];
  readonly image: Address | undefined;
  readonly result: Address | undefined;
}

function touchesOf({ operands }: PlannedCall, blockOf: BlockOf): Touches {
  const blockAt = (address: Address | undefined) => (address ? blockOf(address) : undefined);
  const reads = READ.flatMap((name) => blockAt(operands[name]) ?? []);
  return { reads, image: blockAt(operands.b), result: blockAt(operands.c) };
}

/** Numbers of the steps that touch each block, in their order. */
function timelines(touches: readonly Touches[]): ReadonlyMap<Address, readonly number[]> {
  const lines = new Map<Address, number[]>();
  touches.forEach(({ reads, result }, step) => {
    for (const block of new Set([...reads, ...[result ?? []].flat()]))
      lines.set(block, [...(lines.get(block) ?? []), step]);
  });
  return lines;
}

/**
 * The second convolution of each pair, and the first: what the first writes is read by the second alone, and until then nobody writes to
 * what the first reads. `wanted` is read after the last step.
 */
export function pairsOf<Step extends PlannedCall>(
  steps: readonly Step[],
  blockOf: BlockOf,
  wanted: readonly Address[],
): ReadonlyMap<Step, Step> {
  const touches = steps.map((step) => touchesOf(step, blockOf));
  const lines = timelines(touches);
  const kept = new Set(wanted.map(blockOf));
  const isForgotten = (block: Address, next: number | undefined) =>
    next === undefined ? !kept.has(block) : !touches[next]!.reads.includes(block);
  const pairs = new Map<Step, Step>();
  steps.forEach((second, at) => {
    const { image, reads, result } = touches[at]!;
    if (image === undefined || image === result) return;
    const line = lines.get(image)!;
    const place = line.indexOf(at);
    const made = line[place - 1];
    if (made === undefined) return;
    const first = steps[made]!;
    const isMadeThere = touches[made]!.result === image && first.operands.c === second.operands.b;
    const isReadOnce = reads.filter((block) => block === image).length === 1;
    if (!isMadeThere || !isReadOnce || !isForgotten(image, line[place + 1])) return;
    const until = touches.slice(made + 1, at + 1);
    const isOver = until.some((one) => one.result !== undefined && touches[made]!.reads.includes(one.result));
    if (isOver || touches[made]!.reads.includes(image)) return;
    if (pairOf(first.execution, second.execution)) pairs.set(second, first);
  });
  return pairs;
}
