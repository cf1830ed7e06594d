/** The uniform that every shader of a product reads: extents, distances in elements, and the epilogue's numbers. */

/** Names in their order; all are words of 32 bits. */
const WORDS = {
  m: 'u32',
  n: 'u32',
  k: 'u32',
  lda: 'u32',
  ldb: 'u32',
  ldc: 'u32',
  /** From one product of a batch to the next; 0 where an operand is shared. */
  strideA: 'u32',
  strideB: 'u32',
  strideC: 'u32',
  offsetA: 'u32',
  offsetB: 'u32',
  offsetC: 'u32',
  /** A batch may be cut into several dispatches. */
  firstProduct: 'u32',
  /** Whether channels are rows of the result, for slopes; products that are groups of one image have different channels. */
  slopeByRow: 'u32',
  groups: 'u32',
  alpha: 'f32',
  beta: 'f32',
  p0: 'f32',
  p1: 'f32',
} as const;

export type Params = Readonly<Record<keyof typeof WORDS, number>>;

/** Bytes of the uniform: a multiple of 16. */
export const PARAMS_BYTES = 16 * Math.ceil(Object.keys(WORDS).length / 4);

export const PARAMS = `struct Params {
${Object.entries(WORDS)
  .map(([name, type]) => `  ${name}: ${type},`)
  .join('\n')}
}
`;

/** A bound beyond the floats is none: the largest float stands for it, because WGSL knows no infinity. */
function bounded(value: number): number {
  const most = 3.4028234663852886e38;
  return Math.min(Math.max(value, -most), most);
}

export function encodeParams(params: Params): ArrayBuffer {
  const buffer = new ArrayBuffer(PARAMS_BYTES);
  const words = new Uint32Array(buffer);
  const floats = new Float32Array(buffer);
  for (const [index, [name, type]] of Object.entries(WORDS).entries()) {
    const value = params[name as keyof Params];
    if (type === 'u32') words[index] = value;
    else floats[index] = bounded(value);
  }
  return buffer;
}
