/** Wisdom that lives as long as whoever holds the store: for `wisdom: false`, browsers, and tests. */
import type { WisdomStore } from './types.ts';

export interface MemoryStore extends WisdomStore {
  /** The text that was set aside, if any. */
  readonly refused: string | undefined;
}

export function memoryStore(initial?: string): MemoryStore {
  let text = initial;
  let refused: string | undefined;
  return {
    name: 'memory',
    read: () => text,
    write: (next) => {
      text = next;
    },
    setAside: (bad) => {
      refused ??= bad;
    },
    get refused() {
      return refused;
    },
  };
}
