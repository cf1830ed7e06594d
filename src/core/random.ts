/** Seeded numbers for self-checks, probes and tests: the same on every engine. */

/** mulberry32 (T. Ettinger, public domain): 32 bits of state, numbers in [0, 1). */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Fills with numbers in [-1, 1), none of them alike in a pattern that a transposed or shifted operand would survive. */
export function fillRandom(array: Float32Array, seed: number): Float32Array {
  const next = randomFrom(seed);
  for (let i = 0; i < array.length; i++) array[i] = next() * 2 - 1;
  return array;
}

const drawn = new Map<number, Float32Array>();

/** What `fillRandom` gives for a seed, drawn once: each kernel is checked with the same numbers. */
export function numbersOf(seed: number, count: number): Float32Array {
  const known = drawn.get(seed);
  if (known && known.length >= count) return known.subarray(0, count);
  const numbers = fillRandom(new Float32Array(count), seed);
  drawn.set(seed, numbers);
  return numbers;
}
