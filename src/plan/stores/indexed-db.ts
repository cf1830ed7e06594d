/**
 * Wisdom in a page's database (https://www.w3.org/TR/IndexedDB/). Databases answer later and planners ask at once: the text is read when the store
 * is opened, and written in the background. Of pages that are open at the same time the last to write wins.
 */
import type { WisdomStore } from './types.ts';

const TABLE = 'wisdom';
/** Texts of that many configurations are kept: a browser that was updated has another signature. */
const KEPT_MOST = 8;
/** A database that does not answer must not keep a runtime from starting. */
const PATIENCE_MS = 2000;

interface Entry {
  readonly text: string;
  readonly at: number;
}

function answer<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function openDatabase(name: string): Promise<IDBDatabase> {
  const request = indexedDB.open(name, 1);
  request.onupgradeneeded = () => void request.result.createObjectStore(TABLE);
  return answer(request);
}

function late(): Promise<never> {
  return new Promise((_, reject) => {
    setTimeout(() => reject(new Error('the database does not answer')), PATIENCE_MS);
  });
}

/** Undefined where there is no database that may be used: outside of pages and workers, and in some private windows. */
export async function indexedDbStore(key: string, name = 'tesserae'): Promise<WisdomStore | undefined> {
  if (typeof indexedDB === 'undefined') return undefined;
  try {
    return await Promise.race([open(key, name), late()]);
  } catch {
    return undefined;
  }
}

async function open(key: string, name: string): Promise<WisdomStore> {
  const database = await openDatabase(name);
  // a page that deletes the database need not wait for this one
  database.onversionchange = () => database.close();
  const table = (mode: IDBTransactionMode) => database.transaction(TABLE, mode).objectStore(TABLE);
  let text = ((await answer(table('readonly').get(key))) as Entry | undefined)?.text;
  let failure: unknown;
  let pending: Promise<unknown> = Promise.resolve();
  const put = (at: string, value: string) => {
    pending = answer(table('readwrite').put({ text: value, at: Date.now() } satisfies Entry, at))
      .then(() => prune(table))
      .catch((error) => {
        failure = error;
      });
  };
  return {
    name: `indexedDB ${name}`,
    read: () => text,
    write: (next) => {
      // what failed in the background is told at the next occasion
      const before = failure;
      failure = undefined;
      if (before !== undefined) throw before;
      text = next;
      put(key, next);
    },
    setAside: (bad) => put(`${key} refused`, bad),
    settle: () => pending,
  };
}

/** Oldest first, what is beyond the texts that are kept. */
async function prune(table: (mode: IDBTransactionMode) => IDBObjectStore): Promise<void> {
  const all = table('readonly');
  const [keys, entries] = await Promise.all([answer(all.getAllKeys()), answer(all.getAll())]);
  const dated = keys.map((key, i) => ({ key, at: (entries[i] as Entry).at })).sort((a, b) => a.at - b.at);
  for (const { key } of dated.slice(0, Math.max(0, dated.length - KEPT_MOST)))
    await answer(table('readwrite').delete(key));
}
