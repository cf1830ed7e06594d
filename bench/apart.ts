/**
 * What a page gets that is not cross-origin isolated: products on one thread, on threads with a memory of their own, and on threads that
 * share one, by turns.
 *
 *     npm run bench -- apart [--threads 2] [--seconds 3]
 */
import { parseArgs } from 'node:util';
import { createRuntime, type Prepacked, type Runtime, type Tensor } from '../src/index.ts';

const SIDES = [512, 1024, 2048];

interface Way {
  readonly name: string;
  readonly rt: Runtime;
  readonly times: number[];
  a: Tensor;
  b: Tensor | Prepacked;
}

export async function main(args: readonly string[]): Promise<void> {
  const options = {
    threads: { type: 'string', default: '2' },
    seconds: { type: 'string', default: '3' },
  } as const;
  const { threads, seconds } = parseArgs({ args: [...args], options }).values;
  const count = Number(threads);
  const runtimes = {
    'one thread': await createRuntime({ threads: 1, wisdom: false }),
    'own memories': await createRuntime({ threads: count, wisdom: false, memory: { shared: false } }),
    'one memory': await createRuntime({ threads: count, wisdom: false }),
  };
  console.log(`Node ${process.versions.node}, ${count} threads; milliseconds, medians, by turns`);
  for (const side of SIDES)
    for (const isKept of [false, true]) {
      const data = Float32Array.from({ length: side * side }, (_, i) => (i % 7) - 3);
      const shape = [side, side];
      const ways = Object.entries(runtimes).map(([name, rt]): Way => {
        const b = isKept ? rt.prepack({ data, shape }, { m: side }) : rt.tensor(data, shape);
        return { name, rt, times: [], a: rt.tensor(data, shape), b };
      });
      await turns(ways, 1000);
      for (const { times } of ways) times.length = 0;
      await turns(ways, 1000 * Number(seconds));
      const medians = ways.map(({ name, times }) => ({
        name,
        ms: times.sort((x, y) => x - y)[times.length >> 1]!,
      }));
      const [one] = medians;
      const row = medians.map(({ name, ms }) => `${name} ${ms.toFixed(1)} (${(one!.ms / ms).toFixed(2)}x)`);
      console.log(`${side}x${side}x${side}${isKept ? ', b kept' : ''}: ${row.join(', ')}`);
      for (const { a, b } of ways) {
        a.dispose();
        b.dispose();
      }
    }
  await Promise.all(Object.values(runtimes).map((rt) => rt.close()));
}

async function turns(ways: readonly Way[], ms: number): Promise<void> {
  for (const end = performance.now() + ms; performance.now() < end; )
    for (const { rt, a, b, times } of ways) {
      const start = performance.now();
      (await rt.matmul(a, b)).dispose();
      times.push(performance.now() - start);
    }
}
