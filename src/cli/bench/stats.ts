/** Statistics of samples; pure functions. */

export interface Summary {
  readonly min: number;
  readonly median: number;
  readonly p10: number;
  readonly p90: number;
  /** (p90 - p10) / median: how far the middle eight tenths lie apart. */
  readonly spread: number;
  readonly count: number;
}

/** Linear interpolation between order statistics (the definition that spreadsheets use). */
export function quantile(sorted: readonly number[], q: number): number {
  if (sorted.length === 0) return Number.NaN;
  const position = (sorted.length - 1) * q;
  const below = Math.floor(position);
  const low = sorted[below] ?? Number.NaN;
  const high = sorted[Math.min(below + 1, sorted.length - 1)] ?? Number.NaN;
  return low + (high - low) * (position - below);
}

export function median(samples: readonly number[]): number {
  return quantile(ascending(samples), 0.5);
}

export function summarize(samples: readonly number[]): Summary {
  const sorted = ascending(samples);
  const [p10, middle, p90] = [quantile(sorted, 0.1), quantile(sorted, 0.5), quantile(sorted, 0.9)];
  return {
    min: sorted[0] ?? Number.NaN,
    median: middle,
    p10,
    p90,
    spread: (p90 - p10) / middle,
    count: sorted.length,
  };
}

/**
 * Median over the rounds of other / own: above 1, `own` is faster. Both samples of a pair were taken within
 * moments of each other, so a machine that slows down for a while moves both and leaves the ratio alone.
 */
export function pairedRatio(own: readonly number[], other: readonly number[]): number {
  const ratios = own.slice(0, other.length).map((ms, i) => (other[i] ?? Number.NaN) / ms);
  return median(ratios);
}

/**
 * Two-sided Mann-Whitney U test, normal approximation with ties and continuity corrected: how likely samples
 * so different would be if both came from one distribution. `effective` are the sample sizes to believe in
 * (see effectiveSize); they widen the spread of U without changing its place.
 */
export function mannWhitney(
  a: readonly number[],
  b: readonly number[],
  effective = [a.length, b.length],
): number {
  const [n, m] = [a.length, b.length];
  if (n === 0 || m === 0) return 1;
  const { rankSum, tieTerm } = rankSumOf(a, b);
  const u = rankSum - (n * (n + 1)) / 2;
  const total = n + m;
  const variance = ((n * m) / 12) * (total + 1 - tieTerm / (total * (total - 1)));
  if (variance <= 0) return 1;
  const [en = n, em = m] = effective;
  // z grows with the square root of the sample size; the harmonic mean is the size that a two-sample test feels.
  const shrink = Math.sqrt(Math.min(1, harmonic(en, em) / harmonic(n, m)));
  const distance = Math.max(0, Math.abs(u - (n * m) / 2) - 0.5);
  return Math.min(1, 2 * upperTail((shrink * distance) / Math.sqrt(variance)));
}

function rankSumOf(a: readonly number[], b: readonly number[]): { rankSum: number; tieTerm: number } {
  const all = [...a.map((value) => ({ value, own: true })), ...b.map((value) => ({ value, own: false }))];
  all.sort((x, y) => x.value - y.value);
  let [rankSum, tieTerm] = [0, 0];
  for (let start = 0; start < all.length; ) {
    let end = start + 1;
    while (end < all.length && all[end]?.value === all[start]?.value) end++;
    const tied = end - start;
    const rank = (start + 1 + end) / 2;
    rankSum += rank * all.slice(start, end).filter((entry) => entry.own).length;
    tieTerm += tied ** 3 - tied;
    start = end;
  }
  return { rankSum, tieTerm };
}

function harmonic(x: number, y: number): number {
  return (2 * x * y) / (x + y);
}

/**
 * How many independent samples these are worth. Neighbours in time resemble each other (frequency, other work
 * on the machine); with lag-1 correlation r, n of them say as much as n (1 - r) / (1 + r) independent ones.
 * Computed on ranks, so that one outlier cannot hide the correlation.
 */
export function effectiveSize(samples: readonly number[]): number {
  const n = samples.length;
  if (n < 4) return n;
  const sorted = ascending(samples);
  const ranks = samples.map((value) => sorted.indexOf(value) - (n - 1) / 2);
  let [product, square] = [0, 0];
  for (let i = 0; i < n; i++) {
    square += (ranks[i] ?? 0) ** 2;
    if (i > 0) product += (ranks[i] ?? 0) * (ranks[i - 1] ?? 0);
  }
  // Independent samples show a correlation of about 1 / sqrt(n) by chance: that much counts as none.
  const r = square === 0 ? 0 : Math.max(0, product / square - 1 / Math.sqrt(n));
  return Math.max(2, (n * (1 - r)) / (1 + r));
}

/** Probability that a standard normal exceeds z (Abramowitz and Stegun 26.2.17, absolute error below 1e-7). */
function upperTail(z: number): number {
  const t = 1 / (1 + 0.2316419 * z);
  const series =
    t * (0.31938153 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))));
  return (Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI)) * series;
}

/** Holm's step-down correction: p-values adjusted so that the whole family errs no oftener than one test. */
export function holm(pValues: readonly number[]): readonly number[] {
  const order = pValues.map((p, index) => ({ p, index })).sort((x, y) => x.p - y.p);
  const adjusted = new Array<number>(pValues.length).fill(1);
  let floor = 0;
  order.forEach(({ p, index }, rank) => {
    floor = Math.max(floor, Math.min(1, p * (pValues.length - rank)));
    adjusted[index] = floor;
  });
  return adjusted;
}

/** Distance between the medians of the first and the second half, as a ratio from 1 up: drift within a run. */
export function driftOf(samples: readonly number[]): number {
  const half = Math.floor(samples.length / 2);
  if (half < 3) return 1;
  const ratio = median(samples.slice(0, half)) / median(samples.slice(-half));
  return Math.max(ratio, 1 / ratio);
}

function ascending(samples: readonly number[]): number[] {
  return [...samples].sort((x, y) => x - y);
}
