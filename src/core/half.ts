/** Halves: IEEE 754 binary16, with 11 significant bits and exponents from -14 to 15. */

const LEAST_NORMAL = 2 ** -14;
/** The distance of the halves below that. */
const STEP = 2 ** -24;
/** The first value that rounds to infinity. */
const BEYOND = 65520;

/** The half nearest to a value, ties to even. */
export function roundToHalf(value: number): number {
  const size = Math.abs(value);
  if (size >= BEYOND) return Math.sign(value) * Number.POSITIVE_INFINITY;
  // also NaN, and zeros with their sign
  if (!(size > 0)) return value;
  const step = size < LEAST_NORMAL ? STEP : 2 ** (Math.floor(Math.log2(size)) - 10);
  const [lower, rest] = [Math.floor(size / step), (size / step) % 1];
  const isUp = rest > 0.5 || (rest === 0.5 && lower % 2 === 1);
  return Math.sign(value) * (isUp ? lower + 1 : lower) * step;
}
