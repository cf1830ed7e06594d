/** What the page measures: products and convolutions, with what they cost in arithmetic and in memory. */
import type { ProblemSpec, Runtime, Tensor } from 'tesserae';

export interface Work {
  readonly name: string;
  readonly spec: ProblemSpec;
  /** Multiplications and additions. */
  readonly flop: number;
  /** Of operands and result, each moved once. */
  readonly bytes: number;
  /** Makes the operands; a call on them, and what gives them back. */
  prepare(rt: Runtime): { call(): Promise<Tensor>; dispose(): void };
}

function product(m: number, k: number, n: number): Work {
  return {
    name: m === 1 ? `${k} × ${n} matrix by vector` : `${m} × ${k} × ${n} product`,
    spec: { m, k, n },
    flop: 2 * m * k * n,
    bytes: 4 * (m * k + k * n + m * n),
    prepare: (rt) => {
      const [a, b] = [filled(rt, [m, k]), filled(rt, [k, n])];
      return { call: () => rt.matmul(a, b), dispose: () => disposeAll(a, b) };
    },
  };
}

function convolution(channels: number, side: number, filters: number, size: number): Work {
  const input = [1, channels, side, side];
  const weights = [filters, channels, size, size];
  const padding = (size - 1) / 2;
  return {
    name: `${size} × ${size} convolution, ${channels} channels of ${side} × ${side}`,
    spec: { op: 'conv', input, weights, padding, prepacked: true },
    flop: 2 * filters * channels * size * size * side * side,
    bytes: 4 * (channels * side * side + filters * side * side + filters * channels * size * size),
    prepare: (rt) => {
      const x = filled(rt, input);
      const w = rt.prepack(filled(rt, weights), { op: 'conv' });
      return {
        call: () => rt.conv2d(x, w, { padding }),
        dispose: () => disposeAll(x, w),
      };
    },
  };
}

function disposeAll(...held: readonly Disposable[]): void {
  for (const one of held) one[Symbol.dispose]();
}

function filled(rt: Runtime, shape: readonly number[]): Tensor {
  const tensor = rt.zeros(shape);
  tensor.data.fill(0.5);
  return tensor;
}

export const WORK: readonly Work[] = [
  product(256, 256, 256),
  product(512, 512, 512),
  product(1024, 1024, 1024),
  product(1, 2048, 2048),
  convolution(64, 56, 64, 3),
  convolution(256, 28, 256, 1),
];

/** Median seconds of a call, measured for about `ms`; `tell` hears of the median so far. */
export async function measure(
  rt: Runtime,
  work: Work,
  ms: number,
  tell: (seconds: number) => void,
): Promise<number> {
  const { call, dispose } = work.prepare(rt);
  const times: number[] = [];
  const median = () => times.toSorted((x, y) => x - y)[times.length >> 1]!;
  try {
    (await call()).dispose();
    for (const end = performance.now() + ms; performance.now() < end || times.length < 3; ) {
      // a clock of 0.1 ms steps needs several short calls
      const start = performance.now();
      let calls = 0;
      do {
        (await call()).dispose();
        calls++;
      } while (performance.now() - start < 5);
      times.push((performance.now() - start) / 1000 / calls);
      tell(median());
      await new Promise((resolve) => setTimeout(resolve));
    }
    return median();
  } finally {
    dispose();
  }
}
