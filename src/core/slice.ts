/** Long work on a thread that has other things to do: written as a generator that stops where it may be left for a while. */
import { systemClock } from './clock.ts';

/** So long the thread's other work waits, or for one piece that takes longer: half of what a page has for a frame. */
const SLICE_MS = 8;

/** As many pieces as fit; `done` tells whether it was the rest. */
export function aSlice<T>(pieces: Generator<void, T>): IteratorResult<void, T> {
  const end = systemClock.now() + SLICE_MS;
  for (;;) {
    const piece = pieces.next();
    if (piece.done || systemClock.now() > end) return piece;
  }
}
