/**
 * Text templates of the depthwise kernels: output rows of one channel, lanes are neighbouring columns.
 *
 * Contract, `f(k, a, lda, b, ldb, cin, ldcin, c, ldc)`, the signature of the micro-kernels (one type for call_indirect) with
 * its own meaning, strides in bytes:
 *   c[r][x] = sum over (kh, kw) of a[kh][kw] * b[r * ldcin + kh * ldb + cin[kw] + 4 x]   for r < mr, x < k,
 * from +0 with taps in the order (kh, kw). `b` is a strip (assembly/conv/strip.ts), so neighbours read neighbours whatever the
 * stride and the dilation. Fixed kernels have a table `cin` of one byte offset a tap column; the general kernel has `lda` taps
 * and one offset a tap (kh * kW + kw) from b.
 * - A kernel of one row takes any stride and dilation. One of several rows knows its vertical stride, and that ldb is the
 *   distance of strip rows (no dilation): it loads each strip row once for all output rows that need it and ignores ldcin.
 * - Columns beyond the last whole block are done by vectors that lie over columns already done. Only k < 4 reads past the
 *   strip's last column, at most 12 bytes.
 *
 * V8 puts all loads of a basic block at its top, which spills as soon as there are more than registers. So branches that are
 * never taken (strides are multiples of 4) end a block every few taps. Node 24, one thread, GFLOP/s: 3x3_s1_r4x8__relaxed
 * has 40 with a branch after each tap, 19 with one after each row (rows of 512); 5x5_s1_r4x4__simd 24 with, 19 without.
 */
import type { Kernel, KernelFeature } from '../../src/kernels/kernel.ts';

type Taps = NonNullable<Kernel['taps']>;

const SIGNATURE =
  '(k: i32, a: usize, lda: usize, b: usize, ldb: usize, cin: usize, ldcin: usize, c: usize, ldc: usize): void';

/** So many weights stay in registers (of 15) with their columns' offsets; more are loaded where they are used. */
const HELD_WEIGHTS = 9;

/** Taps from one of the branches to the next in kernels that load weights where they use them. */
const FENCE_TAPS = 2;

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

function zeroSums(mr: number, vectors: number): string[] {
  return range(mr).flatMap((r) => range(vectors).map((v) => `    let c${r}_${v} = f32x4.splat(0);`));
}

function isHeld({ kH, kW }: Taps): boolean {
  return kH * kW <= HELD_WEIGHTS;
}

/** Strip row after strip row; each value loaded goes into every output row that has a tap there. */
function rowsBlock({ mr, feature }: Kernel, taps: Taps): Block {
  const { kH, kW, strideH } = taps;
  const held = isHeld(taps);
  const fence = held ? (mr > 1 ? 1 : kW) : FENCE_TAPS;
  const step = (i: number, kw: number, vectors: number): string[] => {
    const data = range(vectors).map((v) => `d${i}_${kw}_${v}`);
    const lines = [`    const p${i}_${kw} = q + ${held ? `o${kw}` : `load<usize>(cin, ${4 * kw})`};`];
    data.forEach((name, v) => {
      lines.push(`    const ${name} = v128.load(p${i}_${kw}, ${16 * v});`);
    });
    for (const r of range(mr)) {
      const kh = i - r * strideH;
      if (kh < 0 || kh >= kH) continue;
      const tap = kh * kW + kw;
      const weight = held ? `w${tap}` : `w${r}_${tap}`;
      if (!held) lines.push(`    const ${weight} = v128.load32_splat(a, ${4 * tap});`);
      data.forEach((name, v) => {
        lines.push(`    c${r}_${v} = ${multiplyAdd(feature, `c${r}_${v}`, weight, name)};`);
      });
    }
    const steps = i * kW + kw + 1;
    if (steps % fence === 0) lines.push(`    if (ldb == ${2 * steps + 1}) return;`);
    return lines;
  };
  return (vectors) => {
    const rows = range((mr - 1) * strideH + kH).map((i) => range(kW).flatMap((kw) => step(i, kw, vectors)).join('\n'));
    return [...zeroSums(mr, vectors), '    let q = b;', rows.join('\n    q += ldb;\n')].join('\n');
  };
}

/** One output row of a larger filter: a loop over tap rows, their columns unrolled (5x5 on Node 20: 27 GFLOP/s, without the
 *  loop 14). */
function loopBlock({ feature }: Kernel, { kW }: Taps): Block {
  return (vectors) => {
    const steps = range(kW).flatMap((kw) => [
      `      const p${kw} = q + load<usize>(cin, ${4 * kw});`,
      `      const w${kw} = v128.load32_splat(w, ${4 * kw});`,
      ...range(vectors).map(
        (v) => `      c0_${v} = ${multiplyAdd(feature, `c0_${v}`, `w${kw}`, `v128.load(p${kw}, ${16 * v})`)};`,
      ),
      ...((kw + 1) % FENCE_TAPS === 0 && kw < kW - 1 ? [`      if (ldb == ${2 * kw + 1}) break;`] : []),
    ]);
    return `${zeroSums(1, vectors).join('\n')}
    let q = b, w = a;
    do {
${steps.join('\n')}
      q += ldb;
      w += ${4 * kW};
    } while (w < last);`;
  };
}

function generalBlock({ feature }: Kernel): Block {
  return (vectors) => {
    const steps = range(vectors).map(
      (v) => `      c0_${v} = ${multiplyAdd(feature, `c0_${v}`, 'w', `v128.load(p, ${16 * v})`)};`,
    );
    return `${zeroSums(1, vectors).join('\n')}
    let tap: usize = 0;
    do {
      const p = b + load<usize>(cin + tap);
      const w = v128.load32_splat(a + tap);
${steps.join('\n')}
      tap += 4;
    } while (tap < taps);`;
  };
}

function stores(mr: number, vectors: number): string {
  return range(mr)
    .map((r) => {
      const to = r === 0 ? 'c' : `t${r}`;
      const pointer = r === 0 ? '' : `    const ${to} = c + ${r} * ldc;\n`;
      return pointer + range(vectors).map((v) => `    v128.store(${to}, c${r}_${v}, ${16 * v});`).join('\n');
    })
    .join('\n');
}

function laneStores(mr: number): string {
  return range(mr)
    .map((r) => {
      const lane = (i: number) => `v128.store_lane<f32>(c + ${r} * ldc, c${r}_0, ${i}, ${4 * i});`;
      return `      ${lane(0)}\n      if (k > 1) ${lane(1)}\n      if (k > 2) ${lane(2)}`;
    })
    .join('\n');
}

function advance(vectors: number): string {
  return `    b += ${16 * vectors};\n    c += ${16 * vectors};\n    k -= ${4 * vectors};`;
}

function stepBack(columns: number): string {
  return `const back = <usize>(${columns} - k) << 2; b -= back; c -= back; k = ${columns};`;
}

/** Blocks of two or four vectors while more than half of one is left; the last steps back so that it ends with the row. */
function wideLoop(mr: number, vectors: number, block: Block): string {
  const columns = 4 * vectors;
  return `  while (k > ${columns / 2}) {
    if (k < ${columns}) {
      if (width < ${columns}) break;
      ${stepBack(columns)}
    }
${block(vectors)}
${stores(mr, vectors)}
${advance(vectors)}
  }`;
}

/** Ever narrower blocks, then single vectors, and lanes where a row is shorter than a vector. */
function columnLoops({ mr, nr }: Kernel, block: Block): string {
  const wide = [4, 2].filter((vectors) => 4 * vectors <= nr).map((vectors) => wideLoop(mr, vectors, block));
  return `  const width = k;
${wide.join('\n')}
  while (k > 0) {
    if (k < 4 && width >= 4) { ${stepBack(4)} }
${block(1)}
    if (k < 4) {
${laneStores(mr)}
      return;
    }
${stores(mr, 1)}
${advance(1)}
  }`;
}

/** What a kernel knows before its loops, and its block. */
function partsOf(kernel: Kernel): { opening: string[]; block: Block } {
  const { taps, mr } = kernel;
  if (!taps) return { opening: ['  const taps = lda << 2;'], block: generalBlock(kernel) };
  const { kH, kW } = taps;
  if (isHeld(taps)) {
    const columns = range(kW).map((kw) => `  const o${kw} = load<usize>(cin, ${4 * kw});`);
    const weights = range(kH * kW).map((t) => `  const w${t} = v128.load32_splat(a, ${4 * t});`);
    return { opening: [...columns, ...weights], block: rowsBlock(kernel, taps) };
  }
  if (mr === 1) return { opening: [`  const last = a + ${4 * kH * kW};`], block: loopBlock(kernel, taps) };
  return { opening: [], block: rowsBlock(kernel, taps) };
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
  const { opening, block } = partsOf(kernel);
  return `export function ${kernel.name}${SIGNATURE} {\n${[...opening, columnLoops(kernel, block)].join('\n')}\n}\n`;
}
