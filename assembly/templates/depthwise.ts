/**
 * Text templates of the depthwise kernels: output rows of one channel, lanes are neighbouring columns.
 *
 * Contract, `f(k, a, lda, b, ldb, cin, ldcin, c, ldc)`, the signature of the micro-kernels (one type for call_indirect) with
 * its own meaning, strides in bytes:
 *   c[r][x] = sum over (kh, kw) of a[kh][kw] * b[r * ldcin + kh * ldb + cin[kw] + 4 x]   for r < mr, x < k,
 * from +0 with taps in the order (kh, kw). `b` is a strip (assembly/conv/strip.ts), so neighbours read neighbours whatever the
 * stride and the dilation. Fixed kernels have a table `cin` of one byte offset a tap column; the general kernel has `lda` taps
 * and one offset a tap (kh * kW + kw) from b.
 * - A kernel of one row takes any stride and dilation. One of several rows knows its vertical stride and that ldb is the
 *   distance of strip rows (no dilation): it loads each strip row once for all output rows that need it and ignores ldcin.
 * - Columns beyond the last whole block are done by vectors that lie over columns already done. Only k < 4 reads past the
 *   strip's last column, at most 12 bytes.
 */
import type { Kernel, KernelFeature } from '../../src/kernels/kernel.ts';

const SIGNATURE =
  '(k: i32, a: usize, lda: usize, b: usize, ldb: usize, cin: usize, ldcin: usize, c: usize, ldc: usize): void';

/** So many weights are kept in registers (of 15); more are loaded where they are used. */
const HELD_WEIGHTS = 9;
export const FENCE = { every: 0, held: true, loop: false };

function multiplyAdd(feature: KernelFeature, acc: string, a: string, b: string): string {
  return feature === 'relaxed'
    ? `f32x4.relaxed_madd(${a}, ${b}, ${acc})`
    : `f32x4.add(${acc}, f32x4.mul(${a}, ${b}))`;
}

function range(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index);
}

/** A block of mr rows x `vectors` vectors of columns: zero the sums, fill them. Stores are the caller's. */
type Block = (vectors: number) => string;

function zeroSums(mr: number, vectors: number): string[] {
  return range(mr).flatMap((r) => range(vectors).map((v) => `    let c${r}_${v} = f32x4.splat(0);`));
}

/** Strip row after strip row; each value loaded goes into every output row that has a tap there. */
function fixedBlock(kernel: Kernel, { kH, kW, strideH }: NonNullable<Kernel['taps']>): Block {
  const { mr, feature } = kernel;
  const held = kH * kW <= HELD_WEIGHTS;
  return (vectors) => {
    const lines = [...zeroSums(mr, vectors), '    let q = b;'];
    let step = 0;
    for (const i of range((mr - 1) * strideH + kH)) {
      if (i > 0) lines.push('    q += ldb;');
      const users = range(mr).filter((r) => i - r * strideH >= 0 && i - r * strideH < kH);
      for (const kw of range(kW)) {
        lines.push(`    const p${i}_${kw} = q + ${FENCE.held ? `o${kw}` : `load<usize>(cin, ${4 * kw})`};`);
        for (const v of range(vectors)) lines.push(`    const d${i}_${kw}_${v} = v128.load(p${i}_${kw}, ${16 * v});`);
        for (const r of users) {
          const tap = (i - r * strideH) * kW + kw;
          const weight = held ? `w${tap}` : `w${i}_${kw}_${r}`;
          if (!held) lines.push(`    const ${weight} = v128.load32_splat(a, ${4 * tap});`);
          for (const v of range(vectors)) {
            lines.push(`    c${r}_${v} = ${multiplyAdd(feature, `c${r}_${v}`, weight, `d${i}_${kw}_${v}`)};`);
          }
        }
        step++;
        if (FENCE.every && step % FENCE.every === 0) lines.push(`    if (ldb == ${2 * step + 1}) return;`);
      }
    }
    return lines.join('\n');
  };
}

/** One output row: a loop over tap rows, their columns unrolled. */
function loopBlock({ feature }: Kernel, { kH, kW }: NonNullable<Kernel['taps']>): Block {
  return (vectors) => {
    const steps = range(kW).flatMap((kw) => [
      `      const p${kw} = q + load<usize>(cin, ${4 * kw});`,
      `      const w${kw} = v128.load32_splat(w, ${4 * kw});`,
      ...range(vectors).map(
        (v) => `      c0_${v} = ${multiplyAdd(feature, `c0_${v}`, `w${kw}`, `v128.load(p${kw}, ${16 * v})`)};`,
      ),
      ...(FENCE.every && (kw + 1) % FENCE.every === 0 && kw < kW - 1 ? [`      if (ldb == ${2 * kw + 1}) break;`] : []),
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
  return (vectors) =>
    `${zeroSums(1, vectors).join('\n')}
    let tap: usize = 0;
    do {
      const p = b + load<usize>(cin + tap);
      const w = v128.load32_splat(a + tap);
${range(vectors)
  .map((v) => `      c0_${v} = ${multiplyAdd(feature, `c0_${v}`, 'w', `v128.load(p, ${16 * v})`)};`)
  .join('\n')}
      tap += 4;
    } while (tap < taps);`;
}

function storeRows(mr: number, store: (row: number, to: string) => string): string {
  return range(mr)
    .map((r) => store(r, r === 0 ? 'c' : `c + ${r} * ldc`))
    .join('\n');
}

/** Whole blocks, then single vectors; the last of either steps back so that it ends with the row. */
function columnLoops({ mr, nr }: Kernel, block: Block): string {
  const vectors = nr / 4;
  const advance = (v: number) => `    b += ${16 * v};\n    c += ${16 * v};\n    k -= ${4 * v};`;
  const back = (v: number) => `const back = <usize>(${4 * v} - k) << 2; b -= back; c -= back; k = ${4 * v};`;
  const stores = (v: number) =>
    storeRows(mr, (r, to) => {
      const pointer = r === 0 ? '' : `    const t${r} = ${to};\n`;
      const name = r === 0 ? 'c' : `t${r}`;
      return pointer + range(v).map((j) => `    v128.store(${name}, c${r}_${j}, ${16 * j});`).join('\n');
    });
  const lanes = storeRows(
    mr,
    (r, to) => `      v128.store_lane<f32>(${to}, c${r}_0, 0);
      if (k > 1) v128.store_lane<f32>(${to}, c${r}_0, 1, 4);
      if (k > 2) v128.store_lane<f32>(${to}, c${r}_0, 2, 8);`,
  );
  const wide = `  const wide = k >= ${nr};
  while (k > ${wideRest(vectors)}) {
    if (k < ${nr}) {
      if (!wide) break;
      ${back(vectors)}
    }
${block(vectors)}
${stores(vectors)}
${advance(vectors)}
  }
`;
  return `  const whole = k >= 4;
${vectors > 1 ? wide : ''}  while (k > 0) {
    if (k < 4 && whole) { ${back(1)} }
${block(1)}
    if (k < 4) {
${lanes}
      return;
    }
${stores(1)}
${advance(1)}
  }`;
}

/** So many columns are left to single vectors; with more a whole block is cheaper, though part of it is done twice. */
function wideRest(vectors: number): number {
  return vectors === 2 ? 4 : 8;
}

/** The AssemblyScript of one depthwise row of the kernel table. */
export function depthwiseSource(kernel: Kernel): string {
  const { taps } = kernel;
  if (!taps) {
    return `export function ${kernel.name}${SIGNATURE} {
  const taps = lda << 2;
${columnLoops(kernel, generalBlock(kernel))}
}
`;
  }
  const { kH, kW } = taps;
  const columns = range(kW).map((kw) => `  const o${kw} = load<usize>(cin, ${4 * kw});`);
  const weights = kH * kW <= HELD_WEIGHTS ? range(kH * kW) : [];
  const held = weights.map((t) => `  const w${t} = v128.load32_splat(a, ${4 * t});`);
  return `export function ${kernel.name}${SIGNATURE} {
${FENCE.loop ? `  const last = a + ${4 * kH * kW};` : [...(FENCE.held ? columns : []), ...held].join('\n')}
${columnLoops(kernel, FENCE.loop ? loopBlock(kernel, taps) : fixedBlock(kernel, taps))}
}
`;
}
