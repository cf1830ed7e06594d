/** The kernel table as data: names, flags, partners, and what selection makes of it. */
import test from 'tape';
import type { WasmBackend } from '../../src/backends/wasm/backend.ts';
import { applicableKernels } from '../../src/kernels/select.ts';
import { findKernel, KERNELS, kernelsUsed, oneRowPartner, PRODUCT_KERNELS } from '../../src/kernels/table.ts';
import { matmulProblem } from '../../src/problem/matmul.ts';
import { makeWasmBackend } from '../support/bench.ts';
import { ALL_KERNELS } from '../support/problems.ts';
import { seeded } from '../support/seed.ts';

const NAME =
  /^f32_(?:gemm_(\d+)x(\d+)__(simd|relaxed)_(loadsplat|loadsplat_k2|loadsplat_sum|direct)|gemv_(axpy_k|dot_r)(\d+)__(simd|relaxed))$/;

/** What the issue asks for at the least. */
const REQUIRED = [
  '1x4',
  '1x8',
  '1x16',
  '1x32',
  '2x8',
  '2x16',
  '3x16',
  '4x8',
  '4x16',
  '5x8',
  '5x16',
  '6x8',
  '6x16',
  '8x8',
];

const none = { present: ALL_KERNELS, quarantined: new Map<string, string>() };

test(seeded('kernel table: names are unique data sheets'), (t) => {
  t.ok(KERNELS.length > 80, `${KERNELS.length} rows`);
  t.equal(new Set(KERNELS.map((kernel) => kernel.name)).size, KERNELS.length, 'no name twice');
  for (const kernel of PRODUCT_KERNELS) {
    const parts = NAME.exec(kernel.name);
    if (!parts) {
      t.fail(`${kernel.name} has a name of another form`);
      continue;
    }
    const [, mr, nr, feature, trick, vector, , vectorFeature] = parts;
    t.equal(feature ?? vectorFeature, kernel.feature, `${kernel.name}: feature`);
    if (vector) t.equal(kernel.family, vector.split('_')[0], `${kernel.name}: family`);
    else {
      t.deepEqual([Number(mr), Number(nr)], [kernel.mr, kernel.nr], `${kernel.name}: block`);
      t.equal(kernel.family === 'direct', trick === 'direct', `${kernel.name}: family`);
      t.equal(
        kernel.form === 'plain' ? '' : `_${kernel.form}`,
        trick!.replace(/^loadsplat|^direct/, ''),
        `${kernel.name}: form`,
      );
    }
    t.equal(findKernel(kernel.name), kernel, `${kernel.name}: found by name`);
  }
  t.equal(findKernel('f32_gemm_9x9__simd_loadsplat'), undefined, 'a foreign name is not found');
  t.end();
});

test(seeded('kernel table: required blocks are there for both features'), (t) => {
  for (const feature of ['simd', 'relaxed']) {
    for (const block of REQUIRED)
      t.ok(findKernel(`f32_gemm_${block}__${feature}_loadsplat`), `${block} ${feature}`);
  }
  const rows = (feature: string) =>
    KERNELS.filter((k) => k.feature === feature && k.dtype === undefined).map((k) =>
      k.name.replace(feature, ''),
    );
  t.deepEqual(rows('simd'), rows('relaxed'), 'both features have the same rows');
  t.end();
});

test(seeded('kernel table: direct widths have a one-row partner'), (t) => {
  const direct = KERNELS.filter((kernel) => kernel.family === 'direct');
  t.ok(direct.length > 0);
  for (const kernel of direct) {
    const partner = oneRowPartner(kernel);
    const fits =
      partner.mr === 1 &&
      partner.nr === kernel.nr &&
      partner.feature === kernel.feature &&
      partner.family === 'direct';
    t.ok(fits, `${kernel.name} -> ${partner.name}`);
    t.equal(partner.deterministic, kernel.deterministic, `${kernel.name}: partner is as deterministic`);
    t.deepEqual(
      kernelsUsed(kernel.name),
      [...new Set([kernel.name, partner.name])],
      `${kernel.name}: kernels used`,
    );
  }
  t.end();
});

test(seeded('kernel table: only plain in-order kernels are deterministic'), (t) => {
  for (const kernel of KERNELS) {
    const inOrder = kernel.feature === 'simd' && kernel.form !== 'sum' && kernel.family !== 'dot';
    // sums of integers are exact in any order
    t.equal(kernel.deterministic, inOrder || kernel.dtype !== undefined, kernel.name);
  }
  t.end();
});

test(seeded('kernel table: the loaded module has every row of its features'), async (t) => {
  const backend: WasmBackend = makeWasmBackend();
  const features = backend.feature === 'relaxed' ? ['simd', 'relaxed'] : ['simd'];
  const wanted = KERNELS.filter((kernel) => features.includes(kernel.feature)).map((kernel) => kernel.name);
  t.deepEqual(
    [...backend.kernels.keys()],
    wanted,
    `${backend.feature} module, ${wanted.length} kernels in table order`,
  );
  t.equal(
    new Set(backend.kernels.values()).size,
    wanted.length,
    'each has its own place in the function table',
  );
  await backend.close();
  t.end();
});

test(seeded('kernel selection: exact, panels, presence, quarantine'), (t) => {
  const names = (list: { readonly name: string }[]) => list.map((kernel) => kernel.name);
  const square = matmulProblem({ m: 33, n: 33, k: 33 });
  const exact = applicableKernels({ ...square, exact: true }, none);
  t.ok(
    exact.length > 0 && exact.every((kernel) => kernel.deterministic),
    'exact takes deterministic kernels only',
  );
  const panels = applicableKernels(
    matmulProblem({ m: 3, n: 33, k: 33 }, { panel: { nr: 16, kc: 36 } }),
    none,
  );
  t.ok(panels.length > 0 && panels.every((kernel) => kernel.nr === 16), 'panels fix the width');
  t.notOk(
    names(applicableKernels({ ...square, transposeA: true }, none)).some((n) => n.includes('direct')),
    'a transposed A is not read in place',
  );
  const present = new Set([...ALL_KERNELS].filter((name) => name.includes('simd')));
  t.ok(
    names(applicableKernels(square, { ...none, present })).every((name) => present.has(name)),
    'only what is present',
  );
  const bad = 'f32_gemm_1x8__simd_direct';
  const left = names(applicableKernels(square, { ...none, quarantined: new Map([[bad, 'wrong']]) }));
  t.notOk(left.includes(bad), 'a quarantined kernel is out');
  t.notOk(left.includes('f32_gemm_4x8__simd_direct'), 'so is one that would use it for its last rows');
  t.ok(left.includes('f32_gemm_2x16__simd_direct'), 'others stay');
  t.end();
});

test(seeded('kernel selection: vector kernels by storage'), (t) => {
  const families = (m: number, n: number, transposeA: boolean, transposeB: boolean) => [
    ...new Set(
      applicableKernels(matmulProblem({ m, n, k: 9 }, { transposeA, transposeB }), none).map((k) => k.family),
    ),
  ];
  t.ok(
    families(1, 50, false, false).includes('axpy') && !families(1, 50, false, false).includes('dot'),
    'row x B: axpy',
  );
  t.ok(
    families(1, 50, false, true).includes('dot') && !families(1, 50, false, true).includes('axpy'),
    'row x B^T: dot',
  );
  t.ok(
    families(50, 1, false, false).includes('dot') && !families(50, 1, false, false).includes('axpy'),
    'A x column: dot',
  );
  t.ok(
    families(50, 1, true, false).includes('axpy') && !families(50, 1, true, false).includes('dot'),
    'A^T x column: axpy',
  );
  t.notOk(
    families(2, 2, false, false).some((family) => family === 'axpy' || family === 'dot'),
    'no vector kernel for 2 x 2',
  );
  t.end();
});
