/** What the benny suites share: results folder, case options, and the rule that only right answers are timed. */
import b from 'benny';
import type { Operands } from '../src/cli/bench/operands.ts';
import { isUnsupported, type Peer, type Prepared } from '../src/cli/bench/types.ts';
import { verify } from '../src/cli/bench/verify.ts';
import { formatMs } from '../src/cli/format.ts';
import { SHAPE_LISTS, type Shape, shapeList } from '../src/cli/shapes/index.ts';

const RESULTS = 'bench/results';

/** Half a second a case: the suites have many, and benny reports its margin of error beside each. */
export const CASE = { minSamples: 10, maxTime: 0.5 } as const;

/** Readies a product and runs it once into a poisoned output; throws where the answer is wrong. */
export async function prepareVerified(peer: Peer, operands: Operands): Promise<Prepared> {
  const prepared = await peer.prepare(operands);
  if (isUnsupported(prepared)) throw new Error(`${peer.info.id} cannot: ${prepared.unsupported}`);
  prepared.poison?.();
  await prepared.run();
  const verdict = verify(operands, await prepared.result());
  if (!verdict.ok) throw new Error(`${peer.info.id} is wrong: ${verdict.reason}`);
  return prepared;
}

/** benny awaits a promise only if it saw one at the start: `run` must keep to one kind. */
export function addCase(name: string, run: () => unknown): ReturnType<typeof b.add> {
  return b.add(name, () => run, CASE);
}

export function shapesNamed(name: string): readonly Shape[] {
  const list = shapeList(name);
  if (!list)
    throw new Error(
      `There is no shape list "${name}"; there are ${SHAPE_LISTS.map((known) => known.name).join(', ')}.`,
    );
  return list.shapes;
}

type Complete = NonNullable<Parameters<typeof b.complete>[0]>;

/** The end of every suite: benny's live lines on a terminal, one line a case elsewhere, then what `report` adds. */
export function conclude(
  file: string,
  report: Complete = () => undefined,
): readonly ReturnType<typeof b.add>[] {
  const live = process.stdout.isTTY === true;
  const complete = b.complete((summary) => {
    for (const { name, details, margin } of live ? [] : summary.results) {
      console.log(`  ${name.padEnd(44)}${formatMs(1000 * details.median).padStart(10)}  ±${margin} %`);
    }
    report(summary);
  });
  return [...(live ? [b.cycle()] : []), complete, b.save({ folder: RESULTS, file })];
}
