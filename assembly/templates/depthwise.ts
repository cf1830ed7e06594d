/**
 * Text templates of the depthwise kernels: output rows of one channel, lanes are neighbouring columns.
 *
 * Signature `f(k, a, lda, b, ldb, cin, ldcin, c, ldc, blocks)` as the micro-kernels' (one type for call_indirect) with its own meaning,
 * strides in bytes, blocks 1; k columns, taps in the order (kh, kw), sums from +0:
 * - Kernels of a fixed size read rows of the image where they lie. `b` is a table of the addresses of the input rows of mr output
 *   rows, each of the column that tap column 0 of output column 0 sees, in the image or not: c[r][x] = sum over (kh, kw) of
 *   a[kh][kw] * row[r * stride + kh][x * stride + kw]. `cin` holds masks, one vector for each tap column: for the first four
 *   output columns, then for the last four; what is masked counts as 0. `lda` has what follows the sum, for the whole channel: a bias, which is
 *   never -0 and which fused sums begin with, two bounds, and whether they matter. Where `ldb` is not 0, columns go to panels of
 *   1 << (ldb / 2) bytes, eight columns at least, with `ldcin` bytes between them, and k is a multiple of their lanes. `blocks` says which of the
 *   rows of `b` count, from its low eight bits to what is above them, one at least; the others hold zeros, which only filters whose weights are
 *   all held look at. k is at least 4, and ldb even. They read up to 7 floats past the end of a row, and the last columns may be written first
 *   with sums that are wrong.
 *   (XNNPACK's kernels for depthwise convolution of sparse networks are built this way.)
 * - The general kernel has `lda` taps: c[x] = sum over taps of a[tap] * b[x + cin[tap] / 4]. `b` is a strip
 *   (assembly/conv/strip.ts), so neighbours read neighbours whatever the stride and the dilation. Only k < 4 reads past the strip's
 *   last column, at most 12 bytes.
 *
 * V8 puts all loads of a basic block at its top, which spills as soon as there are more than registers. So branches that are never
 * taken (ldb is even) end a block at each tap (28 x 28 x 120, 5x5, blocks of 4 x 4: 250 us with, 487 without, Node 24). They go to where the sums
 * are used: from a branch that leaves the function Binaryen moves the sums of all rows but the first behind it, one chain after the other,
 * which no core can overlap (3x3, r4x8, 128 columns: 276 against 223 ns on Node 24, 540 against 273 on Node 20). And no two of a function
 * are for one value of ldb: V8 drops the second.
 */
import { holdsWeights } from '../../src/kernels/depthwise.ts';
import type { Kernel, KernelFeature } from '../../src/kernels/kernel.ts';

type Taps = NonNullable<Kernel['taps']>;

const SIGNATURE =
  '(k: i32, a: usize, lda: usize, b: usize, ldb: usize, cin: usize, ldcin: usize, c: usize, ldc: usize, blocks: i32): void';

function multiplyAdd(feature: KernelFeature, acc: string, a: string, b: string): string {
  return feature === 'relaxed'
    ? `f32x4.relaxed_madd(${a}, ${b}, ${acc})`
    : `f32x4.add(${acc}, f32x4.mul(${a}, ${b}))`;
}

function range(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index);
}

/** Text that fills the sums c0_0, c0_1, ... of mr rows x `vectors` vectors of columns, without their stores. */
type Block = (vectors: number) => string;

function sumsFrom(start: string, mr: number, vectors: number): string[] {
  return range(mr).flatMap((r) => range(vectors).map((v) => `    let c${r}_${v} = ${start};`));
}

const ZERO = 'f32x4.splat(0)';

/** What the sums of a kernel that reads in place begin with. */
function startOf({ feature }: Kernel): string {
  return feature === 'relaxed' ? 'v128.load32_splat(lda)' : ZERO;
}

/** Which columns of a row a block has: the first four of the left one and the last four of the right one may look beyond the image. */
type Side = 'left' | 'middle' | 'right';

const SIDES: readonly Side[] = ['left', 'middle', 'right'];

/** Steps of a block that have fences, at most. */
const FENCES = 64;

/** The odd value of ldb at which a fence would open: another one for each of a function. */
function fenceValue(side: Side, vectors: number, step: number): number {
  return 2 * (FENCES * (SIDES.length * vectors + SIDES.indexOf(side)) + step) + 1;
}

/** Statements that load what tap column kw sees for `vectors` vectors of columns from input row q on, and the vectors' names. */
function columnLoads({ size, stride }: Taps, side: Side, kw: number, vectors: number): { lines: string[]; names: string[] } {
  const half = size >> 1;
  const masked = (v: number) => (side === 'left' && v === 0 && kw < half) || (side === 'right' && v === vectors - 1 && kw > half);
  const names = range(vectors).map((v) => `d${kw}_${v}`);
  const lines = names.map((name, v) => {
    // with stride 2 tap columns 2j and 2j + 1 are the evens and odds of eight floats
    const pair = kw >> 1;
    const odd = kw & 1;
    const value =
      stride === 1
        ? `v128.load(q, ${4 * kw + 16 * v})`
        : `v128.shuffle<f32>(l${pair}_${v}, h${pair}_${v}, ${[0, 2, 4, 6].map((lane) => lane + odd).join(', ')})`;
    const at = 16 * ((side === 'right' ? size : 0) + kw);
    return `    const ${name} = ${masked(v) ? `v128.and(${value}, v128.load(cin, ${at}))` : value};`;
  });
  if (stride === 1 || kw & 1) return { lines, names };
  const pairs = range(vectors).map((v) => {
    const [name, at] = [`${kw >> 1}_${v}`, 4 * kw + 32 * v];
    return `    const l${name} = v128.load(q, ${at}), h${name} = v128.load(q, ${at + 16});`;
  });
  return { lines: [...pairs, ...lines], names };
}

/** What one input row gives to output rows: `uses` has an output row and where the weight of a tap column comes from. */
function rowSteps(
  { feature }: Kernel, taps: Taps, side: Side, vectors: number, uses: readonly { r: number; weight: (kw: number) => string; isFirst?: boolean }[],
  fence: (kw: number) => string,
): string {
  const step = (kw: number): string[] => {
    const { lines, names } = columnLoads(taps, side, kw, vectors);
    for (const { r, weight, isFirst } of uses) {
      lines.push(`    const u${r}_${kw} = ${weight(kw)};`);
      names.forEach((name, v) => {
        const product = isFirst && kw === 0 ? `f32x4.mul(u${r}_${kw}, ${name})` : multiplyAdd(feature, `c${r}_${v}`, `u${r}_${kw}`, name);
        lines.push(`    c${r}_${v} = ${product};`);
      });
    }
    return [...lines, fence(kw)];
  };
  return range(taps.size).flatMap(step).join('\n');
}

/**
 * Input row after input row; each value loaded goes into every output row that has a tap there. Weights are held. Sums that are not fused begin
 * with a product in place of +0 plus one, which saves an addition.
 */
function unrolledBlock(kernel: Kernel, taps: Taps, side: Side): Block {
  const { mr } = kernel;
  const { size, stride } = taps;
  const row = (i: number, vectors: number): string => {
    const uses = range(mr).flatMap((r) => {
      const kh = i - r * stride;
      if (kh < 0 || kh >= size) return [];
      return [{ r, weight: (kw: number) => `w${kh * size + kw}`, isFirst: kh === 0 && kernel.feature !== 'relaxed' }];
    });
    const fence = (kw: number) => `    if (ldb == ${fenceValue(side, vectors, i * size + kw)}) break;`;
    const steps = rowSteps(kernel, taps, side, vectors, uses, fence);
    return `    { const q = p${i} + ${columnBytes(taps)};\n${steps}\n    }`;
  };
  return (vectors) =>
    [...sumsFrom(startOf(kernel), mr, vectors), '    do {', ...range(inputRows(mr, taps)).map((i) => row(i, vectors)), '    } while (false);'].join('\n');
}

/** Input rows that give to the same output rows: from, until, and which. */
function segmentsOf(mr: number, taps: Taps): { from: number; until: number; rows: number[] }[] {
  const segments: { from: number; until: number; rows: number[] }[] = [];
  for (const i of range(inputRows(mr, taps))) {
    const rows = range(mr).filter((r) => i >= r * taps.stride && i < r * taps.stride + taps.size);
    const last = segments.at(-1);
    if (last?.rows.join() === rows.join()) last.until = i + 1;
    else segments.push({ from: i, until: i + 1, rows });
  }
  return segments;
}

/**
 * A few output rows of a larger filter: loops over the input rows that give to the same of them, columns unrolled. Unrolled, 25 taps spill on
 * V8 11 (28 x 28 x 120, r2x16, Node 20: 308 us; unrolled r2x8: 448).
 */
function loopBlock(kernel: Kernel, taps: Taps, side: Side): Block {
  const { mr } = kernel;
  const { size, stride } = taps;
  const row = 4 * size;
  const segments = segmentsOf(mr, taps);
  const loop = (vectors: number, rows: readonly number[], from: number, index: number): string => {
    const uses = rows.map((r) => ({ r, weight: (kw: number) => `v128.load32_splat(w${r === 0 ? '' : ` - ${r * row * stride}`}, ${4 * kw})` }));
    const fence = (kw: number) => (kw < size - 1 ? `    if (ldb == ${fenceValue(side, vectors, from * size + kw)}) break;` : '');
    // one row of results has an input row at least
    return `    ${mr > 1 ? `if (t < e${index}) ` : ''}do {
    const q = load<usize>(t) + ${columnBytes(taps)};
${rowSteps(kernel, taps, side, vectors, uses, fence)}
    t += 4;
    w += ${row};
    } while (t < e${index});`;
  };
  return (vectors) => {
    const loops = segments.map(({ from, rows }, index) => loop(vectors, rows, from, index));
    return [...sumsFrom(startOf(kernel), mr, vectors), '    let t = first, w = a + skipped;', ...loops].join('\n');
  };
}

/** Where the loops over input rows begin and end: those that count, which `blocks` says. */
function loopBounds(mr: number, taps: Taps): string[] {
  return [
    '  const first = b + <usize>((blocks & 255) << 2), last = b + <usize>(blocks >> 8 << 2);',
    `  const skipped = <usize>((blocks & 255) * ${4 * taps.size});`,
    ...segmentsOf(mr, taps).map(({ until }, i) => `  const e${i} = min(b + ${4 * until}, last);`),
  ];
}

/** Bytes from a row's first column to what output column x / 4 sees first. */
function columnBytes({ stride }: Taps): string {
  return stride === 1 ? 'x' : `${stride} * x`;
}

function inputRows(mr: number, { size, stride }: Taps): number {
  return (mr - 1) * stride + size;
}

/** Where a column of a row goes that is `bytes` from the first: into its panel, where there are panels. */
function columnPlace(bytes: string): string {
  return `${bytes} + (${bytes} >> (ldb >> 1)) * ldcin`;
}

/**
 * Bias and bounds on the way out: the operations of a clamp in the last pass (assembly/elementwise/epilogue.ts). Sums that began with a product may
 * be -0 where those from +0 are +0; plus a bias, which is never -0, they are the same.
 */
function storesAt(kernel: Kernel, vectors: number): string {
  const all = range(kernel.mr).flatMap((r) => range(vectors).map((v) => ({ r, v, sum: `c${r}_${v}` })));
  const biased = all.map(({ sum }) => `    ${sum} = f32x4.add(${sum}, bias);`);
  return [
    ...(kernel.feature === 'relaxed' ? [] : ['    const bias = v128.load32_splat(lda);', ...biased]),
    '    if (load<i32>(lda, 12)) {',
    '      const low = v128.load32_splat(lda, 4), high = v128.load32_splat(lda, 8);',
    ...all.map(({ sum }) => `      ${sum} = f32x4.pmin(f32x4.pmax(${sum}, low), high);`),
    '    }',
    ...range(vectors).filter((v) => v % 2 === 0).map((v) => `    const at${v} = ${columnPlace(v ? `x + ${16 * v}` : 'x')};`),
    ...all.map(({ r, v, sum }) => `    v128.store(o${r} + at${v & 2}, ${sum}, ${16 * (v & 1)});`),
  ].join('\n');
}

/**
 * Rows where they lie, in blocks of as many vectors as a row has room for: from the left, then the narrowest that covers the rest and ends
 * with the row, whatever was there. A narrow block takes as long as its longest chain of sums, so few wide ones are faster than many that do
 * not overlap (5x5, r2x16, 22 columns: 66 against 110 ns on Node 24, 82 against 118 on Node 20).
 */
function inPlaceSource(kernel: Kernel, taps: Taps): string {
  const { name, mr, nr } = kernel;
  const { size } = taps;
  const looped = !holdsWeights(taps);
  const form = looped ? loopBlock : unrolledBlock;
  const block = (side: Side, vectors: number) =>
    `{\n${form(kernel, taps, side)(vectors)}\n${storesAt(kernel, vectors)}\n  }`;
  const opening = [
    ...(looped ? loopBounds(mr, taps) : range(inputRows(mr, taps)).map((i) => `  const p${i} = load<usize>(b, ${4 * i});`)),
    ...range(mr).map((r) => `  const o${r} = c + ${r} * ldc;`),
    ...(looped ? [] : range(size * size).map((t) => `  const w${t} = v128.load32_splat(a, ${4 * t});`)),
  ];
  const widths = [4, 2, 1].filter((vectors) => 4 * vectors <= nr);
  // each but the widest is for rows that two of its blocks cover
  const fromLeft = widths.map((vectors, i) => {
    const fits = vectors > 1 ? `if (k > ${4 * vectors}) ` : '';
    const middle = `
  for (; x + ${16 * vectors} < end; x += ${16 * vectors}) ${block('middle', vectors)}`;
    return `${fits}{
  ${block('left', vectors)}
  x = ${16 * vectors};${i === 0 ? middle : ''}
  }`;
  });
  const atRight = widths.toReversed().map((vectors, i) => {
    const fits = i < widths.length - 1 ? `if (end - x <= ${16 * vectors}) ` : '';
    return `${fits}{
  x = end - ${16 * vectors};
  ${block('right', vectors)}
  }`;
  });
  return `export function ${name}${SIGNATURE} {
${opening.join('\n')}
  const end = <usize>k << 2;
  let x: usize = 0;
  ${fromLeft.join(' else ')}
  ${atRight.join(' else ')}
}
`;
}

function generalBlock({ feature }: Kernel): Block {
  return (vectors) => {
    const steps = range(vectors).map(
      (v) => `      c0_${v} = ${multiplyAdd(feature, `c0_${v}`, 'w', `v128.load(p, ${16 * v})`)};`,
    );
    return `${sumsFrom(ZERO, 1, vectors).join('\n')}
    let tap: usize = 0;
    do {
      const p = b + load<usize>(cin + tap);
      const w = v128.load32_splat(a + tap);
${steps.join('\n')}
      tap += 4;
    } while (tap < taps);`;
  };
}

function stores(vectors: number): string {
  return range(vectors).map((v) => `    v128.store(c, c0_${v}, ${16 * v});`).join('\n');
}

function laneStores(): string {
  const lane = (i: number) => `v128.store_lane<f32>(c, c0_0, ${i}, ${4 * i});`;
  return `      ${lane(0)}\n      if (k > 1) ${lane(1)}\n      if (k > 2) ${lane(2)}`;
}

function advance(vectors: number): string {
  return `    b += ${16 * vectors};\n    c += ${16 * vectors};\n    k -= ${4 * vectors};`;
}

function stepBack(columns: number): string {
  return `const back = <usize>(${columns} - k) << 2; b -= back; c -= back; k = ${columns};`;
}

/** Blocks of two or four vectors while more than half of one is left; the last steps back so that it ends with the row. */
function wideLoop(vectors: number, block: Block): string {
  const columns = 4 * vectors;
  return `  while (k > ${columns / 2}) {
    if (k < ${columns}) {
      if (width < ${columns}) break;
      ${stepBack(columns)}
    }
${block(vectors)}
${stores(vectors)}
${advance(vectors)}
  }`;
}

/** One row of a strip by any filter: ever narrower blocks, then single vectors, and lanes where a row is shorter than a vector. */
function stripSource(kernel: Kernel): string {
  const block = generalBlock(kernel);
  return `export function ${kernel.name}${SIGNATURE} {
  const taps = lda << 2;
  const width = k;
${[4, 2].map((vectors) => wideLoop(vectors, block)).join('\n')}
  while (k > 0) {
    if (k < 4 && width >= 4) { ${stepBack(4)} }
${block(1)}
    if (k < 4) {
${laneStores()}
      return;
    }
${stores(1)}
${advance(1)}
  }
}
`;
}

/**
 * Four channels, one a lane: c[x] = sum over taps of a[tap] * b[x * ldb + cin[tap]], all of them vectors, for x < k; `lda` is the
 * number of taps. The last four pixels may lie over ones already done.
 */
function lanesSource({ name, feature }: Kernel): string {
  const body = (pixels: number) => `${range(pixels)
    .map((p) => `    let s${p} = f32x4.splat(0);`)
    .join('\n')}
    let tap: usize = 0, w = a;
    do {
      const p = b + load<usize>(cin + tap);
      const v = v128.load(w);
${range(pixels)
  .map((p) => `      s${p} = ${multiplyAdd(feature, `s${p}`, 'v', `v128.load(p${p === 0 ? '' : ` + ${p} * ldb`})`)};`)
  .join('\n')}
      tap += 4;
      w += 16;
    } while (tap < taps);
${range(pixels)
  .map((p) => `    v128.store(c, s${p}, ${16 * p});`)
  .join('\n')}`;
  return `export function ${name}${SIGNATURE} {
  const taps = lda << 2, whole = k >= 4;
  while (whole && k > 0) {
    if (k < 4) {
      b -= <usize>(4 - k) * ldb;
      c -= <usize>(4 - k) << 4;
      k = 4;
    }
${body(4)}
    b += ldb << 2;
    c += 64;
    k -= 4;
  }
  while (k > 0) {
${body(1)}
    b += ldb;
    c += 16;
    k--;
  }
}
`;
}

/** The AssemblyScript of one depthwise row of the kernel table. */
export function depthwiseSource(kernel: Kernel): string {
  if (kernel.lanes) return lanesSource(kernel);
  return kernel.taps ? inPlaceSource(kernel, kernel.taps) : stripSource(kernel);
}
