/** Runs in a page: plans that are kept in its database. Bundled by the browser tests. */
import { createRuntime } from '../../src/index.ts';
import type { RuntimeEvent, RuntimeOptions } from '../../src/ops/types.ts';

export interface WisdomReport {
  readonly source: string;
  /** Where the plan came from: before it was measured, and in a runtime that was made afterwards. */
  readonly plans: readonly string[];
  /** In another database of the caller's name. */
  readonly other: string;
  /** After the text was spoiled: events, whether it computes, what was set aside. */
  readonly spoiled: readonly string[];
  /** How many configurations are kept of ten. */
  readonly kept: number;
  /** Where there is no database. */
  readonly without: string;
}

const PROBLEM = '48x48x48';

async function planSource(options: RuntimeOptions = {}): Promise<string> {
  const rt = await createRuntime({ threads: 1, ...options });
  const { source } = rt.explain(PROBLEM);
  await rt.close();
  return source;
}

function stored(change?: (table: IDBObjectStore) => void): Promise<string[]> {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open('tesserae', 1);
    opening.onerror = () => reject(opening.error);
    opening.onsuccess = () => {
      const transaction = opening.result.transaction('wisdom', 'readwrite');
      const table = transaction.objectStore('wisdom');
      change?.(table);
      const keys = table.getAllKeys();
      transaction.oncomplete = () => {
        opening.result.close();
        resolve(keys.result.map(String));
      };
    };
  });
}

async function run(): Promise<WisdomReport> {
  const plans = [await planSource()];
  const rt = await createRuntime({ threads: 1 });
  const { source } = rt.info.wisdom;
  await rt.tune([PROBLEM], { budgetMs: 200 });
  await rt.close();
  plans.push(await planSource());
  const other = await planSource({ wisdom: 'mine' });
  const [key = ''] = await stored();
  await stored((table) => table.put({ text: 'spoiled', at: 1 }, key));
  const events: RuntimeEvent[] = [];
  const again = await createRuntime({ threads: 1, onEvent: (event) => void events.push(event) });
  await again.tune([PROBLEM], { budgetMs: 100 });
  await again.close();
  const spoiled = [
    ...events.map(({ type }) => type).filter((type) => type === 'wisdom-refused'),
    await planSource(),
    ...(await stored()).filter((name) => name.endsWith('refused')),
  ].map((text) => text.replace(key, 'key'));
  await stored((table) => {
    for (let i = 0; i < 10; i++) table.put({ text: '', at: i }, `old ${i}`);
  });
  const last = await createRuntime({ threads: 1 });
  await last.tune([PROBLEM, '50x50x50'], { budgetMs: 100 });
  await last.close();
  const kept = (await stored()).length;
  Object.defineProperty(globalThis, 'indexedDB', { value: undefined });
  const blind = await createRuntime({ threads: 1 });
  const without = blind.info.wisdom.source;
  await blind.close();
  return { source, plans, other, spoiled, kept, without };
}

(globalThis as { report?: Promise<unknown> }).report = run();
