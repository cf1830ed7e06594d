/** Reductions, softmax and norms: over every axis, of every length, against float64. */
import test from 'tape';
import { referenceLines } from '../../../src/backends/reference/array.ts';
import type { ArrayWithShape } from '../../../src/index.ts';
import {
  type LineKind,
  type LinesProblem,
  REDUCE_KINDS,
  type ReduceKind,
} from '../../../src/problem/lines.ts';
import { guarded, indexOf, placeOf, valuesFault } from '../../support/arrays.ts';
import { EPS } from '../../support/compare.ts';
import { codeOf } from '../../support/faulty.ts';
import { array, sizeOf } from '../../support/oracle.ts';
import { makeRuntime } from '../../support/runtime.ts';
import { Random, seeded } from '../../support/seed.ts';

function problem(kind: LineKind, size: number): LinesProblem {
  const affine = { scale: 'none', bias: 'none', channels: 1 } as const;
  return { op: 'lines', dtype: 'f32', kind, outer: 1, size, inner: 1, ...affine, exact: false };
}

/** Reduces line after line, found by their places. */
function reduced(kind: ReduceKind, x: ArrayWithShape, axes: readonly number[]) {
  const kept = x.shape.map((extent, axis) => (axes.includes(axis) ? 1 : extent));
  const lines = Array.from({ length: sizeOf(kept) }, () => [] as number[]);
  for (let i = 0; i < x.data.length; i++) lines[indexOf(kept, placeOf(x.shape, i))]!.push(x.data[i]!);
  const values = Float64Array.from(lines, (line) => {
    const out = new Float64Array(1);
    referenceLines(
      problem(kind, line.length),
      { x: line, scale: undefined, bias: undefined, epsilon: 0 },
      out,
    );
    return out[0]!;
  });
  // sums may be off by a part of what was summed
  const near = lines.map((line) => EPS * line.length * line.reduce((sum, v) => sum + Math.abs(v), 0));
  const size = lines[0]?.length ?? 1;
  const slack = near.map((sum, i) => {
    if (kind === 'sum') return sum;
    if (kind === 'mean') return sum / size;
    if (kind === 'logSum') return sum / Math.exp(values[i]!);
    return kind === 'logSumExp' ? 4 * EPS * (size + 4) : 0;
  });
  return { shape: kept, values, slack, eps: kind === 'max' || kind === 'min' ? 0 : 2 * size + 8 };
}

test(seeded('reductions: every kind over every set of axes'), async (t) => {
  const rt = await makeRuntime();
  const random = new Random(511);
  const shapes = [[7], [3, 5], [2, 3, 17], [33, 4, 21], [4, 1, 3, 2], [1, 130], [130, 1], [2, 70, 19]];
  for (const kind of REDUCE_KINDS) {
    const faults: string[] = [];
    for (const shape of shapes) {
      for (let set = 0; set < 2 ** shape.length; set++) {
        const axes = shape.map((_, axis) => axis).filter((axis) => set & (1 << axis));
        const x = array(random, shape, kind === 'prod' ? 1.2 : 3);
        // the logarithm of a sum is of something above 0
        if (kind === 'logSum') x.data.set(x.data.map((value) => Math.abs(value) + 0.1));
        const wanted = reduced(kind, x, axes);
        const keepDims = random.chance(0.5);
        const result = keepDims ? wanted.shape : shape.filter((_, axis) => !axes.includes(axis));
        const { out, fault, dispose } = guarded((extents) => rt.zeros(extents), result);
        const asked = axes.map((axis) => (random.chance(0.3) ? axis - shape.length : axis)).reverse();
        if (random.chance(0.5)) rt.reduceSync(kind, x, { axes: asked, keepDims, out });
        else await rt.reduce(kind, x, { axes: asked, keepDims, out });
        const wrong = valuesFault(out.data, wanted.values, wanted.eps, wanted.slack) ?? fault();
        if (wrong) faults.push(`[${shape}] over [${axes}]: ${wrong}`);
        dispose();
      }
    }
    t.deepEqual(faults.slice(0, 2), [], kind);
  }
  t.equal(rt.memory().tensors, 0, 'what was turned is given back');
  await rt.close();
});

/** A line's reference, wherever its elements lie. */
function transformed(kind: LineKind, x: ArrayWithShape, axis: number, epsilon: number): Float64Array {
  const { shape } = x;
  const inner = sizeOf(shape.slice(axis + 1));
  const out = new Float64Array(x.data.length);
  const p = { ...problem(kind, shape[axis]!), outer: sizeOf(shape.slice(0, axis)), inner };
  referenceLines(p, { x: x.data, scale: undefined, bias: undefined, epsilon }, out);
  return out;
}

test(seeded('softmax and its logarithm: every axis, lengths around the vectors, large values'), async (t) => {
  const rt = await makeRuntime();
  const random = new Random(512);
  const faults: string[] = [];
  for (const shape of [[1], [3], [4], [5], [17], [1000], [6, 7], [2, 33, 5], [3, 4, 18], [2, 1, 70]]) {
    for (const axis of shape.keys()) {
      for (const log of [false, true]) {
        const x = array(random, shape, random.pick([1, 20, 1000]));
        const { out, fault, dispose } = guarded((extents) => rt.zeros(extents), shape);
        const options = { axis: random.chance(0.5) ? axis : axis - shape.length, log, out };
        if (random.chance(0.5)) rt.softmaxSync(x, options);
        else await rt.softmax(x, options);
        const wanted = transformed(log ? 'logSoftmax' : 'softmax', x, axis, 0);
        const most = Math.max(...x.data.map(Math.abs));
        // a difference is rounded before it is raised to a power; beyond -104 nothing is left
        const far = Math.min(2 * most, 104);
        const wrong =
          valuesFault(out.data, wanted, log ? 8 : 12 + shape[axis]! / 8 + far, log ? 4 * EPS * most : 0) ??
          fault();
        if (wrong) faults.push(`[${shape}] axis ${axis}${log ? ' log' : ''}: ${wrong}`);
        dispose();
      }
    }
  }
  t.deepEqual(faults.slice(0, 3), [], `${faults.length} faults`);
  const x = rt.tensor([1, 2, Number.NEGATIVE_INFINITY], [3]);
  rt.softmaxSync(x, { out: x });
  t.equal(
    valuesFault(x.data, [1 / (1 + Math.E), Math.E / (1 + Math.E), 0], 4),
    undefined,
    'in place, with minus infinity',
  );
  await rt.close();
});

test(seeded('layer and root-mean-square norms: with and without factors and summands'), async (t) => {
  const rt = await makeRuntime();
  const random = new Random(513);
  const faults: string[] = [];
  for (const [shape, axis] of [
    [[5], 0],
    [[3, 4], 1],
    [[3, 7], -1],
    [[2, 5, 6], 1],
    [[4, 65], 1],
    [[9, 768], 1],
  ] as const) {
    for (let set = 0; set < 8; set++) {
      const [rms, hasScale, hasBias] = [(set & 1) > 0, (set & 2) > 0, (set & 4) > 0];
      const lines = shape.slice(axis);
      const x = array(random, shape, 3);
      const scale = hasScale ? array(random, lines) : undefined;
      const bias = hasBias ? array(random, lines) : undefined;
      const { out, fault, dispose } = guarded((extents) => rt.zeros(extents), shape);
      const options = {
        axis,
        epsilon: 1e-3,
        rms,
        out,
        ...(scale ? { scale } : {}),
        ...(bias ? { bias } : {}),
      };
      if (random.chance(0.5)) rt.layerNormSync(x, options);
      else await rt.layerNorm(x, options);
      const size = sizeOf(lines);
      const plain = transformed(
        rms ? 'rmsNorm' : 'norm',
        { data: x.data, shape: [x.data.length / size, size] },
        1,
        1e-3,
      );
      const wanted = plain.map((v, i) => v * (scale?.data[i % size] ?? 1) + (bias?.data[i % size] ?? 0));
      const wrong = valuesFault(out.data, wanted, 8, 8 * EPS * (2 + Math.sqrt(size))) ?? fault();
      if (wrong)
        faults.push(`[${shape}] axis ${axis} ${JSON.stringify({ rms, hasScale, hasBias })}: ${wrong}`);
      dispose();
    }
  }
  t.deepEqual(faults.slice(0, 3), [], `${faults.length} faults`);
  await rt.close();
});

test(seeded('lines: the same bits for one thread and two'), async (t) => {
  const random = new Random(514);
  const x = array(random, [61, 300, 41], 3);
  const results: Float32Array[][] = [];
  for (const threads of [1, 2]) {
    const rt = await makeRuntime({ threads, numerics: 'exact' });
    const made = [
      await rt.reduce('sum', x, { axes: [2] }),
      await rt.reduce('mean', x, { axes: [1] }),
      await rt.reduce('l2', x, { axes: [0, 2] }),
      await rt.softmax(x),
      await rt.softmax(x, { axis: 1 }),
      await rt.layerNorm(x, { axis: 1 }),
    ];
    results.push(made.map((tensor) => tensor.data.slice()));
    await rt.close();
  }
  for (const [i, one] of results[0]!.entries())
    t.ok(Buffer.from(one.buffer).equals(Buffer.from(results[1]![i]!.buffer)), `result ${i}`);
});

test('lines: nothing to reduce, and what is refused', async (t) => {
  const rt = await makeRuntime();
  const none = rt.zeros([2, 0]);
  const of = (kind: ReduceKind) => [...rt.reduceSync(kind, none, { axes: [1] }).data];
  t.deepEqual(of('sum'), [0, 0], 'a sum of nothing');
  t.deepEqual(of('prod'), [1, 1], 'a product of nothing');
  t.deepEqual(of('max'), [Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY], 'the largest of nothing');
  t.deepEqual(rt.reduceSync('sum', none, { axes: [0] }).shape, [0], 'no results');
  t.deepEqual(rt.softmaxSync(none).shape, [2, 0], 'softmax of nothing');
  const x = rt.tensor([1, 2, 3, 4], [2, 2]);
  t.deepEqual([...rt.reduceSync('sum', x).data], [10], 'all axes unless told otherwise');
  t.deepEqual([...rt.reduceSync('sum', x, { axes: [] }).data], [1, 2, 3, 4], 'none of them');
  t.equal(await codeOf(rt.reduce('total' as 'sum', x)), 'E_ARGUMENT', 'an unknown kind');
  t.equal(await codeOf(rt.reduce('sum', x, { axes: [2] })), 'E_ARGUMENT', 'an axis beyond');
  t.equal(await codeOf(rt.reduce('sum', x, { axes: [0, -2] })), 'E_ARGUMENT', 'an axis twice');
  t.equal(await codeOf(rt.reduce('sum', x, { out: x })), 'E_SHAPE', 'a result of another shape');
  t.equal(await codeOf(rt.softmax(x, { axis: 2 })), 'E_ARGUMENT', 'an axis beyond');
  t.equal(await codeOf(rt.softmax(rt.tensor([1], []))), 'E_ARGUMENT', 'no axis at all');
  t.equal(await codeOf(rt.layerNorm(x, { scale: rt.zeros([3]) })), 'E_SHAPE', 'too many factors');
  t.equal(await codeOf(rt.layerNorm(x, { epsilon: -1 })), 'E_ARGUMENT', 'a negative epsilon');
  await rt.close();
});

test('softmax: NaN at each place, infinities of both kinds, along rows and columns', async (t) => {
  const rt = await makeRuntime({ threads: 1 }, 232);
  const off: string[] = [];
  for (const size of [1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 33]) {
    // line p has NaN at place p; then one with infinity, one of -Infinity alone, one with a single number
    const lines = Array.from({ length: size + 3 }, (_, p) =>
      Array.from({ length: size }, (_, i) => {
        if (p < size) return p === i ? Number.NaN : i - 3;
        if (p === size) return i === size - 1 ? Infinity : 1;
        return p === size + 1 || i > 0 ? -Infinity : 2;
      }),
    );
    const byRow = rt.softmaxSync({ data: Float32Array.from(lines.flat()), shape: [size + 3, size] });
    const turned = lines[0]!.flatMap((_, i) => lines.map((line) => line[i]!));
    const byColumn = rt.softmaxSync(
      { data: Float32Array.from(turned), shape: [size, size + 3] },
      { axis: 0 },
    );
    lines.forEach((_, p) => {
      for (let i = 0; i < size; i++) {
        // as in NumPy, infinity less itself is none either
        const wanted = p < size + 2 ? Number.NaN : i === 0 ? 1 : 0;
        const got = [byRow.data[p * size + i]!, byColumn.data[i * (size + 3) + p]!];
        if (!got.every((value) => Object.is(value, wanted)))
          off.push(`${size}, line ${p}, place ${i}: ${got} for ${wanted}`);
      }
    });
    byRow.dispose();
    byColumn.dispose();
  }
  t.deepEqual(off.slice(0, 5), []);
  await rt.close();
});
