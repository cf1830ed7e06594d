/** The uniform that every shader of a product reads: extents, distances in elements, and the epilogue's numbers. */

/** Names in their order. */
const WORDS = [
  'm',
  'n',
  'k',
  'lda',
  'ldb',
  'ldc',
  /** From one product of a batch to the next; 0 where an operand is shared. */
  'strideA',
  'strideB',
  'strideC',
  'offsetA',
  'offsetB',
  'offsetC',
  /** A batch may be cut into several dispatches. */
  'firstProduct',
  /** Whether channels are rows of the result, for slopes; products that are groups of one image have different channels. */
  'slopeByRow',
  'groups',
  /** Workgroups that sum a tile, each its part of k, and the extent of a part; 1 and k where one does. */
  'parts',
  'kPart',
] as const;

/** Behind them, the floats of a call. */
const SCALARS = ['alpha', 'beta', 'p0', 'p1'] as const;

/** Scalars of a call, as the other backends take them. */
export type Scalars = Readonly<Record<(typeof SCALARS)[number], number>>;

export type Params = Readonly<Record<(typeof WORDS)[number], number>>;

/** Bytes of the uniform: a multiple of 16. */
export const PARAMS_BYTES = 16 * Math.ceil((WORDS.length + SCALARS.length) / 4);

export const PARAMS = `struct Params {
${[...WORDS.map((name) => `  ${name}: u32,`), ...SCALARS.map((name) => `  ${name}: f32,`)].join('\n')}
}
`;

/** A bound beyond the floats is none: the largest float stands for it, because WGSL knows no infinity. */
function bounded(value: number): number {
  const most = 3.4028234663852886e38;
  return Math.min(Math.max(value, -most), most);
}

/** Writes them down, from a multiple of four bytes on. */
export function encodeParams(words: DataView, offset: number, params: Params, scalars: Scalars): void {
  let at = offset;
  for (const name of WORDS) {
    words.setUint32(at, params[name], true);
    at += 4;
  }
  for (const name of SCALARS) {
    words.setFloat32(at, bounded(scalars[name]), true);
    at += 4;
  }
}
