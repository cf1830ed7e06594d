/** Time as a parameter: whatever measures takes a clock, so that tests can pass one that they move themselves. */
export interface Clock {
  /** Milliseconds since some fixed moment. Expected to rise; whoever measures copes if it does not. */
  now(): number;
}

/** The platform's monotonic clock. */
export const systemClock: Clock = { now: () => performance.now() };
