/**
 * Text templates of the micro-kernels. AssemblyScript has no arrays of vectors that stay in registers, so every
 * accumulator must be a local of its own; that is why these are generated.
 *
 * Contract of every micro-kernel, `f(k, a, lda, b, ldb, cin, ldcin, c, ldc, blocks)`, strides in bytes, k and blocks >= 1:
 *   c[i][j] = cin[i][j] + sum over p of a(i, p) * b(p, j)   for i < blocks * mr, j < nr, p rising.
 * It goes down the rows by itself: called for each block it took up to 1.1 times as long (whole networks, Node 20 and 24).
 * - packed: a holds mr floats per step, panel after panel, `mr * lda` bytes apart; b holds nr floats per step (ldb is ignored).
 * - direct: a(i, p) is at a + i * lda + 4 p; b(p, j) is at b + p * ldb + 4 j.
 * - offset: a as direct; b(p, j) is at b + t(p) + 4 j, where t is a table of byte offsets (i32) at ldb.
 * `cin` is c itself, or a block of zeros with stride 0 in a first pass, so that C is not read before it is written.
 */
import type { Kernel } from '../../src/kernels/kernel.ts';

const SIGNATURE =
  '(k: i32, a: usize, lda: usize, b: usize, ldb: usize, cin: usize, ldcin: usize, c: usize, ldc: usize, blocks: i32): void';

/** acc + a * b in the form that the kernel's type and feature allow. */
function multiplyAdd({ feature, dtype }: Kernel, acc: string, a: string, b: string): string {
  if (dtype === 'i8') return `i32x4.relaxed_dot_i8x16_i7x16_add_s(${a}, ${b}, ${acc})`;
  if (dtype === 'i16') return `i32x4.add(${acc}, i32x4.dot_i16x8_s(${a}, ${b}))`;
  return feature === 'relaxed'
    ? `f32x4.relaxed_madd(${a}, ${b}, ${acc})`
    : `f32x4.add(${acc}, f32x4.mul(${a}, ${b}))`;
}

function range(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index);
}

/** One k step of an mr x nr block: load nr of B, then for each row splat one of A and multiply-add. */
function step(kernel: Kernel, u: number, loadA: (row: number) => string, loadB: (vector: number) => string): string {
  const vectors = range(kernel.nr / 4);
  const lines = vectors.map((j) => `    const b${j}_${u} = ${loadB(j)};`);
  for (const i of range(kernel.mr)) {
    lines.push(`    const a${i}_${u} = ${loadA(i)};`);
    for (const j of vectors) {
      lines.push(`    c${i}_${j} = ${multiplyAdd(kernel, `c${i}_${j}`, `a${i}_${u}`, `b${j}_${u}`)};`);
    }
  }
  return lines.join('\n');
}

/** Accumulators from cin (or from zero), a pointer walking down the rows. */
function openBlock(kernel: Kernel): string {
  const lines: string[] = [];
  if (kernel.form !== 'sum') lines.push('  let row = cin;');
  for (const i of range(kernel.mr)) {
    for (const j of range(kernel.nr / 4)) {
      lines.push(`  let c${i}_${j} = ${kernel.form === 'sum' ? 'f32x4.splat(0)' : `v128.load(row, ${16 * j})`};`);
    }
    if (kernel.form !== 'sum') lines.push('  row += ldcin;');
  }
  return lines.join('\n');
}

/** The block goes to c. In the `sum` form each row loads all of cin before it stores: a store between two loads would
 *  keep the revectorizer from pairing them. */
function closeBlock(kernel: Kernel): string {
  const lines = ['  let to = c;'];
  if (kernel.form === 'sum') lines.push('  let from = cin;');
  for (const i of range(kernel.mr)) {
    const vectors = range(kernel.nr / 4);
    if (kernel.form === 'sum') {
      for (const j of vectors) lines.push(`  const o${i}_${j} = v128.load(from, ${16 * j});`);
      for (const j of vectors) lines.push(`  c${i}_${j} = ${kernel.dtype ? 'i32x4' : 'f32x4'}.add(o${i}_${j}, c${i}_${j});`);
      lines.push('  from += ldcin;');
    }
    for (const j of vectors) lines.push(`  v128.store(to, c${i}_${j}, ${16 * j});`);
    lines.push('  to += ldc;');
  }
  return lines.join('\n');
}

/** A function of the block that `block` computes at a, cin and c, and of those below it. */
function downTheRows(kernel: Kernel, block: string): string {
  const next = [`  a += ${kernel.mr} * lda;`, `  cin = ${kernel.form === 'sum' ? 'from' : 'row'};`, '  c = to;'].join('\n');
  return `export function ${kernel.name}${SIGNATURE} {\n  do {\n${block}\n${next}\n  } while (--blocks);\n}\n`;
}

function packedKernel(kernel: Kernel): string {
  const { mr, nr } = kernel;
  const steps = kernel.form === 'k2' ? 2 : 1;
  const body = range(steps).map((u) =>
    step(
      kernel,
      u,
      (i) => `v128.load32_splat(p, ${4 * (i + u * mr)})`,
      (j) => `v128.load(q, ${4 * (4 * j + u * nr)})`,
    ),
  );
  const loop =
    steps === 1
      ? `${body[0]}\n    p += ${4 * mr};\n    q += ${4 * nr};\n  } while (--left);`
      : `${body[0]}\n    if (left == 1) break;\n${body[1]}\n    p += ${8 * mr};\n    q += ${8 * nr};\n    left -= 2;\n  } while (left > 0);`;
  const walk = '  let p = a, q = b, left = k;';
  return downTheRows(kernel, `${walk}\n${openBlock(kernel)}\n  do {\n${loop}\n${closeBlock(kernel)}`);
}

/**
 * The direct form reads A in place: one address per row and a common offset, four k steps per turn so that the
 * addresses move rarely. A branch stands between the steps, for the reason given at `k2` in the kernel table, and it
 * also ends the loop wherever k does. The offset form differs only in how a step finds its row of B.
 */
function directKernel(kernel: Kernel): string {
  const rows = range(kernel.mr);
  const UNROLL = 4;
  const offset = kernel.family === 'offset';
  const pointers = rows.map((i) => `  let p${i} = a${i === 0 ? '' : ` + ${i} * lda`};`).join('\n');
  const body = range(UNROLL)
    .map((u) => {
      const from = offset ? `q${u}` : 'q';
      const find = offset ? `    const q${u} = b + load<u32>(q, ${4 * u});\n` : '';
      const text = step(kernel, u, (i) => `v128.load32_splat(p${i}, ${4 * u})`, (j) => `v128.load(${from}, ${16 * j})`);
      const exit = u < UNROLL - 1 ? `\n    if (left == ${u + 1}) break;` : '';
      return `${find}${text}${offset ? '' : '\n    q += ldb;'}${exit}`;
    })
    .join('\n');
  const next = offset ? [`    q += ${4 * UNROLL};`] : [];
  const advance = [...rows.map((i) => `    p${i} += ${4 * UNROLL};`), ...next].join('\n');
  const walk = `  let q = ${offset ? 'ldb' : 'b'}, left = k;`;
  const loop = `  do {\n${body}\n${advance}\n    left -= ${UNROLL};\n  } while (left > 0);`;
  return downTheRows(kernel, `${pointers}\n${walk}\n${openBlock(kernel)}\n${loop}\n${closeBlock(kernel)}`);
}

/**
 * Row of vector x matrix: c[j] = cin[j] + sum over p of a[p] * b[p][j], for `lda` columns (the parameter has no other use
 * here). The matrix is read in stretches along its rows, several rows at once: the order in which memory delivers best.
 * k is walked in order, so the sum of an element has the bits of any other deterministic kernel.
 */
function axpyKernel(kernel: Kernel, rowsAtOnce: number): string {
  const vectorStep = (j: number, count: number): string => {
    const lines = [`      let s${j} = v128.load(to + q, ${16 * j});`];
    for (const u of range(count)) {
      lines.push(`      s${j} = ${multiplyAdd(kernel, `s${j}`, `x${u}`, `v128.load(r${u} + q, ${16 * j})`)};`);
    }
    lines.push(`      v128.store(to + q, s${j}, ${16 * j});`);
    return lines.join('\n');
  };
  const sweep = (count: number): string => `
    ${range(count).map((u) => `const x${u} = v128.load32_splat(a, ${4 * u}); const r${u} = b + ${u} * ldb;`).join('\n    ')}
    let q: usize = 0;
    for (; q + 32 <= whole; q += 32) {
${vectorStep(0, count)}
${vectorStep(1, count)}
    }
    for (; q < whole; q += 16) {
${vectorStep(0, count)}
    }
    for (; q < bytes; q += 4) {
      let s = load<f32>(to + q);
      ${range(count).map((u) => `s = madd1(s, f32x4.extract_lane(x${u}, 0), load<f32>(r${u} + q));`).join('\n      ')}
      store<f32>(to + q, s);
    }
    a += ${4 * count};
    b += ${count} * ldb;`;
  // A lone scalar product must round like its vector form, so it goes through the same instruction.
  return `export function ${kernel.name}${SIGNATURE} {
  const bytes = lda << 2;
  const whole = bytes & ~15;
  const to = c;
  if (cin != c) memory.copy(c, cin, bytes);
  while (k >= ${rowsAtOnce}) {${sweep(rowsAtOnce)}
    k -= ${rowsAtOnce};
  }
  while (k > 0) {${sweep(1)}
    k--;
  }
}
`.replaceAll('madd1(', kernel.feature === 'relaxed' ? 'maddRelaxed(' : 'maddPlain(');
}

/**
 * Dot products of one vector with rows of a matrix: c[r] = cin[r] + sum over p of a[p] * b[r][p] for `lda` rows, each
 * `ldb` bytes after the last. Lanes and four accumulators keep partial sums, so the order of k is not kept.
 */
function dotKernel(kernel: Kernel, rowsAtOnce: number): string {
  const lanes = range(Math.max(2, 8 / rowsAtOnce));
  const sweep = (count: number): string => {
    const rows = range(count);
    const accumulators = rows.flatMap((r) => lanes.map((l) => `let s${r}_${l} = f32x4.splat(0);`)).join(' ');
    const stride = 16 * lanes.length;
    const wide = lanes
      .flatMap((l) => [
        `      const x${l} = v128.load(a + q, ${16 * l});`,
        ...rows.map((r) => `      s${r}_${l} = ${multiplyAdd(kernel, `s${r}_${l}`, `x${l}`, `v128.load(r${r} + q, ${16 * l})`)};`),
      ])
      .join('\n');
    const narrow = rows.map((r) => `      s${r}_0 = ${multiplyAdd(kernel, `s${r}_0`, 'x', `v128.load(r${r} + q)`)};`).join('\n');
    const finish = rows
      .map((r) => {
        const folded = lanes.slice(1).reduce((sum, l) => `f32x4.add(${sum}, s${r}_${l})`, `s${r}_0`);
        return `    let t${r} = sumLanes(${folded});
    for (let p = q; p < bytes; p += 4) t${r} += load<f32>(a + p) * load<f32>(r${r} + p);
    store<f32>(c, load<f32>(cin, ${4 * r}) + t${r}, ${4 * r});`;
      })
      .join('\n');
    return `
    ${rows.map((r) => `const r${r} = b + ${r} * ldb;`).join(' ')}
    ${accumulators}
    let q: usize = 0;
    for (; q + ${stride} <= bytes; q += ${stride}) {
${wide}
    }
    for (; q + 16 <= bytes; q += 16) {
      const x = v128.load(a + q);
${narrow}
    }
${finish}
    b += ${count} * ldb;
    c += ${4 * count};
    cin += ldcin * ${count};`;
  };
  // rows that are left over, where there can be any
  const rest = `
  while (rows > 0) {${sweep(1)}
    rows--;
  }`;
  return `export function ${kernel.name}${SIGNATURE} {
  const bytes = <usize>k << 2;
  let rows = <i32>lda;
  while (rows >= ${rowsAtOnce}) {${sweep(rowsAtOnce)}
    rows -= ${rowsAtOnce};
  }${rowsAtOnce > 1 ? rest : ''}
}
`;
}

/** A vector times a matrix of bytes: see assembly/quantized/vector.ts. */
function integerVectorKernel({ name, family }: Kernel): string {
  const routine = family === 'axpy' ? 'integerColumns' : 'integerRows';
  return `export function ${name}${SIGNATURE} {\n  ${routine}(k, a, <i32>lda, b, ldb, cin != 0, ldcin, <i32>ldc, c);\n}\n`;
}

const ROWS_AT_ONCE = /_[kr](\d+)__/;

/** AssemblyScript source of one row of the kernel table. */
export function kernelSource(kernel: Kernel): string {
  switch (kernel.family) {
    case 'packed':
      return packedKernel(kernel);
    case 'direct':
    case 'offset':
      return directKernel(kernel);
    case 'axpy':
      if (kernel.dtype === 'i16') return integerVectorKernel(kernel);
      return axpyKernel(kernel, Number(ROWS_AT_ONCE.exec(kernel.name)?.[1]));
    case 'dot':
      if (kernel.dtype === 'i16') return integerVectorKernel(kernel);
      return dotKernel(kernel, Number(ROWS_AT_ONCE.exec(kernel.name)?.[1]));
    case 'depthwise':
      throw new Error('depthwise kernels have templates of their own');
    default:
      throw new Error(`no template for ${kernel.family satisfies never}`);
  }
}
