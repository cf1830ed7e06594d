/** Runs in a page: the whole library as a page uses it. Bundled by the browser tests. */
import { createRuntime, TesseraeError } from '../../src/index.ts';
import type { RuntimeEvent, RuntimeInfo } from '../../src/ops/types.ts';
import { exactHashes, hashOfAll } from './exact-calls.ts';
import { wholeProduct, wrong, wrongAsync, wrongSync } from './products.ts';

export interface RuntimeReport {
  /** At the end. */
  readonly threads: RuntimeInfo['threads'];
  readonly faults: readonly string[];
  readonly hashes: readonly string[];
  readonly events: readonly RuntimeEvent[];
  /** Turns that the page's own thread had while a long product ran. */
  readonly turns: number;
  readonly strict: string;
  /** What came of a matrix in strips on several threads: `right`, what is wrong, or the error's code. */
  readonly spread: string;
}

const PRODUCTS: readonly (readonly [number, number, number])[] = [
  [64, 64, 64],
  [130, 64, 70],
  [1, 300, 200],
  [300, 200, 250],
];

async function run(): Promise<RuntimeReport> {
  const events: RuntimeEvent[] = [];
  // a page whose policy wants files says which
  const worker = new URLSearchParams(location.search).get('worker');
  const rt = await createRuntime({
    onEvent: (event) => void events.push(event),
    ...(worker ? { worker } : {}),
  });
  const faults: (string | undefined)[] = [];
  for (const [salt, extents] of PRODUCTS.entries()) {
    const product = wholeProduct(...extents, salt);
    faults.push(await wrongAsync(rt, product), wrongSync(rt, product));
  }
  const turns = await turnsDuring(async () => {
    const product = wholeProduct(900, 400, 900);
    for (let nth = 0; nth < 5; nth++) faults.push(wrong(await rt.matmul(product.a, product.b), product));
  });
  const { threads } = rt.info;
  await rt.close();
  const exact = await createRuntime({ numerics: 'exact', wisdom: false });
  const hashes = [hashOfAll(await exactHashes(exact, true)), hashOfAll(await exactHashes(exact, false))];
  await exact.close();
  return {
    threads,
    faults: faults.filter((fault) => fault !== undefined),
    hashes,
    events,
    turns,
    strict: await strictCode(),
    spread: await spreadOutcome(worker),
  };
}

async function spreadOutcome(worker: string | null): Promise<string> {
  const rt = await createRuntime({ wisdom: false, ...(worker ? { worker } : {}) });
  try {
    const product = wholeProduct(40, 300, 700);
    const matrix = await rt.spread(product.b);
    return wrong(await rt.matmul(product.a, matrix), product) ?? 'right';
  } catch (error) {
    return error instanceof TesseraeError ? error.code : String(error);
  } finally {
    await rt.close();
  }
}

async function turnsDuring(work: () => Promise<void>): Promise<number> {
  let turns = 0;
  const timer = setInterval(() => turns++, 1);
  await work();
  clearInterval(timer);
  return turns;
}

async function strictCode(): Promise<string> {
  try {
    await (await createRuntime({ policy: 'strict', threads: 2 })).close();
    return 'none';
  } catch (error) {
    return error instanceof TesseraeError ? error.code : String(error);
  }
}

(globalThis as { report?: Promise<unknown> }).report = run();
