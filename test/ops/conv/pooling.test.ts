/** Pooling against float64: windows of every form in both layouts, over the whole image, sync and async. */
import test from 'tape';
import type { AveragePoolOptions, Runtime } from '../../../src/ops/types.ts';
import type { Pair } from '../../../src/problem/window.ts';
import { type AskedPool, bothOf, poolOracle } from '../../support/conv-oracle.ts';
import { describe, GuardedOut } from '../../support/conv-problems.ts';
import { answerFault, array } from '../../support/oracle.ts';
import { makeRuntime } from '../../support/runtime.ts';
import { Random, seeded } from '../../support/seed.ts';

const KINDS = ['max', 'average'] as const;
const LAYOUTS = ['nchw', 'nhwc'] as const;

/** Why a call does not give what was asked; the result is NaN beforehand and stands between two other tensors. */
async function poolFault(rt: Runtime, random: Random, asked: AskedPool): Promise<string | undefined> {
  const { kind, x, size, countPadding, ...rest } = asked;
  const answer = poolOracle(asked);
  const out = random.chance(0.7) ? new GuardedOut(rt, answer.shape) : undefined;
  const options: AveragePoolOptions = {
    ...rest,
    ...(kind === 'average' && countPadding !== undefined ? { countPadding } : {}),
    ...(out ? { out: out.tensor } : {}),
  };
  const before = x.data.slice();
  const tensor = random.chance(0.5) ? rt.tensor(x.data, x.shape) : undefined;
  const image = tensor ?? x;
  const sync = random.chance(0.5);
  let got: ReturnType<typeof rt.maxPool2dSync>;
  if (kind === 'max')
    got = sync ? rt.maxPool2dSync(image, size, options) : await rt.maxPool2d(image, size, options);
  else got = sync ? rt.averagePool2dSync(image, size, options) : await rt.averagePool2d(image, size, options);
  const changed = image.data.some((value, at) => !Object.is(value, before[at]));
  const fault = answerFault(answer, got) ?? out?.fault() ?? (changed ? 'the image was changed' : undefined);
  got.dispose();
  out?.dispose();
  tensor?.dispose();
  return fault && `${fault}: ${describe(asked)}`;
}

const SIZES: readonly Pair[] = [1, 2, 3, [2, 3], [1, 5], 7];
const STRIDES: readonly Pair[] = [1, 2, [3, 1], 4];

/** Padding that is less than the window, so that every window sees a pixel. */
function paddingsFor(size: Pair) {
  const [tall, wide] = bothOf(size);
  return [
    'same',
    'same-lower',
    'valid',
    [tall - 1, wide - 1],
    [0, wide - 1, tall - 1, 0],
    [tall >> 1, wide >> 1],
  ] as const;
}

for (const kind of KINDS) {
  test(seeded(`${kind} pooling: size, stride, padding, ceil mode, layout`), async (t) => {
    const rt = await makeRuntime({}, 200);
    const random = new Random(kind === 'max' ? 2200 : 2201);
    for (const size of SIZES) {
      const faults: string[] = [];
      let count = 0;
      for (const [height, width] of [
        [7, 9],
        [8, 5],
        [13, 34],
      ] as const) {
        for (const stride of STRIDES) {
          for (const padding of paddingsFor(size)) {
            for (const layout of LAYOUTS) {
              const channels = random.pick([1, 3, 4, 9]);
              const [batch, ceil] = [random.int(1, 2), random.chance(0.5)];
              const x = array(
                random,
                layout === 'nchw' ? [batch, channels, height, width] : [batch, height, width, channels],
              );
              const asked: AskedPool = {
                kind,
                x,
                size,
                stride,
                padding,
                layout,
                ceil,
                countPadding: random.chance(0.5),
              };
              if (poolOracle(asked).values.length === 0) continue;
              const fault = await poolFault(rt, random, asked);
              if (fault) faults.push(fault);
              count++;
            }
          }
        }
      }
      t.deepEqual(faults.slice(0, 3), [], `${size}: ${count} questions, ${faults.length} faults`);
      t.ok(count > 50, 'most have a result');
    }
    t.equal(rt.memory().tensors + rt.memory().byOwner.scratch, 0, 'memory is back');
    await rt.close();
    t.end();
  });
}

test(seeded('pooling: windows larger than the image in ceil mode'), async (t) => {
  const rt = await makeRuntime({}, 206);
  const random = new Random(2206);
  const faults: string[] = [];
  for (const kind of KINDS)
    for (const layout of LAYOUTS)
      for (const [height, width] of [
        [2, 2],
        [1, 9],
        [9, 2],
      ] as const)
        for (const padding of [0, [0, 0, 1, 0]] as const) {
          const x = array(random, layout === 'nchw' ? [2, 5, height, width] : [2, height, width, 5]);
          const size = height === 1 ? 2 : 3;
          const countPadding = random.chance(0.5);
          const asked = { kind, x, size, stride: 2, padding, layout, ceil: true, countPadding } as const;
          const fault = await poolFault(rt, random, asked);
          if (fault) faults.push(`${kind} ${layout} ${height}x${width}: ${fault}`);
        }
  t.deepEqual(faults, []);
  await rt.close();
  t.end();
});

test(seeded('pooling: dilated windows'), async (t) => {
  const rt = await makeRuntime({}, 201);
  const random = new Random(2202);
  for (const kind of KINDS) {
    const faults: string[] = [];
    for (const layout of LAYOUTS)
      for (const dilation of [2, [1, 3], 3] as const)
        for (const stride of [1, 2])
          for (const padding of [0, 1, 'same'] as const) {
            const x = array(random, layout === 'nchw' ? [1, 5, 11, 9] : [1, 11, 9, 5]);
            const fault = await poolFault(rt, random, {
              kind,
              x,
              size: 3,
              stride,
              dilation,
              padding,
              layout,
            });
            if (fault) faults.push(fault);
          }
    t.deepEqual(faults.slice(0, 3), [], `${kind}: ${faults.length} faults`);
  }
  await rt.close();
  t.end();
});

test(seeded('pooling: a hundred random images on several threads'), async (t) => {
  for (const threads of [1, 3]) {
    const rt = await makeRuntime({ threads }, 202);
    const random = new Random(2203 + threads);
    const faults: string[] = [];
    for (let turn = 0; turn < 50; turn++) {
      const size = [random.int(1, 5), random.int(1, 5)] as const;
      const layout = random.pick(LAYOUTS);
      const [height, width, channels] = [random.int(5, 60), random.int(5, 60), random.int(1, 20)];
      const x = array(
        random,
        layout === 'nchw' ? [1, channels, height, width] : [1, height, width, channels],
      );
      const stride = [random.int(1, 3), random.int(1, 3)] as const;
      const padding = random.pick(paddingsFor(size));
      const asked = {
        kind: random.pick(KINDS),
        x,
        size,
        stride,
        padding,
        layout,
        ceil: random.chance(0.5),
        countPadding: random.chance(0.5),
      };
      const fault = await poolFault(rt, random, asked);
      if (fault) faults.push(fault);
    }
    t.deepEqual(faults.slice(0, 3), [], `${threads} threads: ${faults.length} faults`);
    await rt.close();
  }
  t.end();
});

test(seeded('pooling: one large enough for the team, sync and async, the same bytes'), async (t) => {
  const rt = await makeRuntime({ threads: 2 }, 203);
  const random = new Random(2210);
  for (const layout of LAYOUTS) {
    const x = array(random, layout === 'nchw' ? [1, 64, 112, 112] : [1, 112, 112, 64]);
    const asked = { kind: 'max', x, size: 3, stride: 2, padding: 1, layout } as const;
    t.equal(await poolFault(rt, random, asked), undefined, `${layout}: max 3x3 of 64 channels`);
    const average = { ...asked, kind: 'average' } as const;
    t.equal(await poolFault(rt, random, average), undefined, `${layout}: average`);
  }
  await rt.close();
  t.end();
});

test(seeded('global pooling'), async (t) => {
  const rt = await makeRuntime({}, 204);
  const random = new Random(2211);
  for (const kind of KINDS) {
    for (const layout of LAYOUTS) {
      for (const [batch, channels, height, width] of [
        [1, 1, 1, 1],
        [2, 5, 7, 7],
        [1, 17, 13, 3],
        [3, 8, 1, 40],
      ] as const) {
        const x = array(
          random,
          layout === 'nchw' ? [batch, channels, height, width] : [batch, height, width, channels],
        );
        const answer = poolOracle({ kind, x, size: [height, width], layout });
        const out = new GuardedOut(rt, answer.shape);
        const got = rt.globalPool2dSync(x, kind, { layout, out: out.tensor });
        const name = `${kind} ${layout} ${x.shape}`;
        t.equal(answerFault(answer, got) ?? out.fault(), undefined, name);
        const again = await rt.globalPool2d(x, kind, { layout });
        t.equal(answerFault(answer, again), undefined, `${name}, awaited`);
        again.dispose();
        out.dispose();
      }
    }
  }
  t.equal(rt.memory().tensors, 0, 'memory is back');
  await rt.close();
  t.end();
});

test(seeded('max pooling: padding never wins, NaN does'), async (t) => {
  const rt = await makeRuntime({}, 205);
  const random = new Random(2212);
  for (const layout of LAYOUTS) {
    const shape = layout === 'nchw' ? [1, 6, 9, 11] : [1, 9, 11, 6];
    const x = array(random, shape);
    const negative = { data: x.data.map((value) => -1 - Math.abs(value)), shape };
    const faults = [];
    for (const [size, stride] of [
      [2, 2],
      [3, 1],
      [3, 2],
      [5, 1],
    ] as const) {
      const options = { kind: 'max', size, stride, padding: size >> 1, layout } as const;
      faults.push(await poolFault(rt, random, { ...options, x: negative }));
      for (const at of [0, 5, 100, x.data.length - 1]) {
        const data = x.data.slice();
        data[at] = Number.NaN;
        data[(at + 37) % data.length] = Number.NEGATIVE_INFINITY;
        faults.push(await poolFault(rt, random, { ...options, x: { data, shape } }));
      }
      faults.push(
        await poolFault(rt, random, { ...options, x: { data: x.data.map(() => -Infinity), shape } }),
      );
    }
    t.deepEqual(faults.filter(Boolean).slice(0, 2), [], layout);
  }
  await rt.close();
  t.end();
});

test(seeded('pooling: exact mode gives one hash on any number of threads, and canonical NaN'), async (t) => {
  const results: Float32Array[][] = [];
  for (const threads of [1, 2, 3]) {
    const rt = await makeRuntime({ numerics: 'exact', threads }, 206 + threads);
    const random = new Random(2213);
    const x = array(random, [1, 40, 80, 81]);
    new Uint32Array(x.data.buffer)[7] = 0xffc12345;
    results.push(
      [
        rt.maxPool2dSync(x, 3, { padding: 1 }),
        await rt.averagePool2d(x, [3, 5], { stride: [1, 2], padding: 'same' }),
        rt.globalPool2dSync(x, 'average'),
      ].map((tensor) => tensor.data.slice()),
    );
    await rt.close();
  }
  const [first, ...others] = results.map((list) => list.map((values) => new Uint32Array(values.buffer)));
  for (const other of others) t.deepEqual(other, first, 'the same bytes');
  const nans = results[0]!.map((values, at) => first![at]!.filter((_, place) => Number.isNaN(values[place])));
  t.ok(
    nans.every((words) => words.length > 0 && words.every((word) => word === 0x7fc00000)),
    'NaN has its canonical bits',
  );
  t.end();
});

/** Largest values as Math.max has them: NaN where one is, +0 before -0. */
function largest(
  data: Float32Array,
  [planes, h, w]: readonly number[],
  size: number,
  stride: number,
  padding: number,
) {
  const [outH, outW] = [h!, w!].map((extent) => Math.floor((extent + 2 * padding - size) / stride) + 1);
  return Float32Array.from({ length: planes! * outH! * outW! }, (_, at) => {
    const plane = Math.floor(at / (outH! * outW!));
    const top = (Math.floor(at / outW!) % outH!) * stride - padding;
    const left = (at % outW!) * stride - padding;
    let value = -Infinity;
    for (let y = Math.max(0, top); y < Math.min(h!, top + size); y++)
      for (let x = Math.max(0, left); x < Math.min(w!, left + size); x++)
        value = Math.max(value, data[(plane * h! + y) * w! + x]!);
    return value;
  });
}

test(seeded('max pooling: NaN at each place, zeros by their signs, infinities of both'), async (t) => {
  const rt = await makeRuntime({ threads: 1 }, 206);
  const random = new Random(2213);
  for (const width of [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 16, 19, 33]) {
    const height = 4;
    const size = height * width;
    const values = [-0, 0, -0, 0, -1, 1, -Infinity, Infinity];
    // plane p has NaN in its place p, the last two have none
    const planes = size + 2;
    const data = Float32Array.from({ length: planes * size }, (_, at) =>
      at % size === Math.floor(at / size) ? NaN : values[random.int(0, at < size * size ? 7 : 3)]!,
    );
    const off: string[] = [];
    for (const [window, stride, padding] of [
      [2, 2, 0],
      [2, 2, 1],
      [3, 1, 1],
      [3, 2, 1],
      [3, 3, 1],
      [4, 2, 2],
    ] as const) {
      if (width + 2 * padding < window) continue;
      const got = rt.maxPool2dSync({ data, shape: [1, planes, height, width] }, window, {
        stride,
        padding,
      });
      const wanted = largest(data, [planes, height, width], window, stride, padding);
      const at = wanted.findIndex((value, i) => !Object.is(value, got.data[i]));
      if (at >= 0 || got.data.length !== wanted.length)
        off.push(
          `${window}, stride ${stride}, padding ${padding}: ${got.data[at]} for ${wanted[at]} at ${at}`,
        );
      got.dispose();
    }
    t.deepEqual(off, [], `${width} columns`);
  }
  await rt.close();
  t.end();
});
