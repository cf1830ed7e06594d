import { inNode } from './node.ts';

/** Time as a parameter: whatever measures takes a clock, so that tests can pass one that they move themselves. */
export interface Clock {
  /** Milliseconds since some fixed moment. Expected to rise; whoever measures copes if it does not. */
  now(): number;
}

/** Looks at a clock that does not move, before it is taken to have no steps. */
const MOST_LOOKS = 100_000;

/** Milliseconds between two values of a clock. Browsers round to 0.1 ms, or to 0.005 ms on isolated pages; Node's steps are far shorter. */
export function stepOf({ now }: Clock): number {
  let least = Number.POSITIVE_INFINITY;
  for (let nth = 0; nth < 3; nth++) {
    const from = now();
    let to = from;
    for (let look = 0; to === from && look < MOST_LOOKS; look++) to = now();
    if (to > from) least = Math.min(least, to - from);
  }
  return Number.isFinite(least) ? least : 0;
}

/** Milliseconds by a clock that all threads of a process read alike. Two of them agree to some microseconds in browsers, where each thread has
 *  an origin of its own, and exactly in Node. */
export function sharedNow(): number {
  if (!inNode()) return performance.timeOrigin + performance.now();
  const [seconds, nanoseconds] = process.hrtime();
  return 1e3 * seconds + 1e-6 * nanoseconds;
}

/** The platform's monotonic clock. */
export const systemClock: Clock = { now: () => performance.now() };
