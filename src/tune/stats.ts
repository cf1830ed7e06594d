/** The few statistics that timing needs. Of nothing there is no median: all of them give NaN for empty input. */

export function min(values: readonly number[]): number {
  let least = values.length === 0 ? Number.NaN : Number.POSITIVE_INFINITY;
  for (const value of values) if (value < least) least = value;
  return least;
}

/** Linear between neighbours (Hyndman and Fan's type 7, the default of R and NumPy); `q` in 0..1. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (sorted.length - 1) * q;
  const below = sorted[Math.floor(at)] ?? Number.NaN;
  const above = sorted[Math.ceil(at)] ?? Number.NaN;
  return below + (above - below) * (at - Math.floor(at));
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** Median absolute deviation, unscaled: times 1.4826 it estimates a normal distribution's standard deviation. */
export function mad(values: readonly number[]): number {
  const middle = median(values);
  return median(values.map((value) => Math.abs(value - middle)));
}

/** a[i] / b[i] over the rounds that both took part in: what slows a whole round cancels out. */
export function pairedRatios(a: readonly number[], b: readonly number[]): number[] {
  const rounds = Math.min(a.length, b.length);
  return a.slice(0, rounds).map((value, i) => value / (b[i] ?? Number.NaN));
}

export function pairedRatioMedian(a: readonly number[], b: readonly number[]): number {
  return median(pairedRatios(a, b));
}
