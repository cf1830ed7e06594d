/**
 * How convTranspose2d is carried out, seen from outside: blocking, threads, layout and the number of images taken at a time do
 * not show; an abort or a lack of memory at any moment leaves nothing behind.
 */
import test from 'tape';
import type { TesseraeError } from '../../../src/core/errors.ts';
import type { ConvTransposeOptions, Runtime } from '../../../src/ops/types.ts';
import { bitDifference, bytesHash } from '../../support/compare.ts';
import { type AskedTranspose, planesOf, transposeOracle } from '../../support/conv-oracle.ts';
import { describe, GuardedOut } from '../../support/conv-problems.ts';
import { answerFault, array } from '../../support/oracle.ts';
import { makeRuntime } from '../../support/runtime.ts';
import { Random, seeded } from '../../support/seed.ts';

const LAYOUTS = ['nchw', 'nhwc'] as const;

interface Extents {
  readonly batch?: number;
  readonly inC: number;
  readonly outC: number;
  readonly image: readonly [number, number];
  readonly filter: readonly [number, number];
}

function ask(
  random: Random,
  extents: Extents,
  options: Omit<AskedTranspose, 'x' | 'w'> = {},
): AskedTranspose {
  const { batch = 1, inC, outC, image, filter } = extents;
  const shape = options.layout === 'nhwc' ? [batch, ...image, inC] : [batch, inC, ...image];
  const weights = [inC, outC / (options.groups ?? 1), ...filter];
  return { x: array(random, shape), w: array(random, weights), ...options };
}

/** Why a call does not give what was asked. */
async function faultIn(
  rt: Runtime,
  random: Random,
  asked: AskedTranspose,
  sync = random.chance(0.5),
): Promise<string | undefined> {
  const answer = transposeOracle(asked);
  const out = random.chance(0.6) ? new GuardedOut(rt, answer.shape) : undefined;
  const { x, w, ...rest } = asked;
  const options: ConvTransposeOptions = { ...rest, ...(out ? { out: out.tensor } : {}) };
  const image = random.chance(0.5) ? x.data : rt.tensor(x.data, x.shape);
  const given = 'dispose' in image ? image : x;
  try {
    const got = sync
      ? rt.convTranspose2dSync(given, w, options)
      : await rt.convTranspose2d(given, w, options);
    const fault = answerFault(answer, got) ?? out?.fault();
    got.dispose();
    return fault && `${fault}: ${describe(asked)}`;
  } catch (error) {
    return `${String(error)}: ${describe(asked)}`;
  } finally {
    out?.dispose();
    if ('dispose' in image) image.dispose();
  }
}

test(seeded('convTranspose2d, exact: the same bytes for any plan, thread count and layout'), async (t) => {
  const random = new Random(2320);
  for (const [inC, outC, groups, stride] of [
    [37, 12, 1, 2],
    [30, 18, 3, 1],
    [7, 7, 7, 3],
  ] as const) {
    const extents = { batch: 2, inC, outC, image: [13, 17], filter: [4, 3] } as const;
    const { x, w } = ask(random, extents, { groups });
    x.data[random.int(0, x.data.length - 1)] = Number.NaN;
    const last = { data: new Float32Array(x.data.length), shape: [2, 13, 17, inC] };
    last.data.forEach((_, at) => {
      const [c, pixel, n] = [at % inC, Math.floor(at / inC) % 221, Math.floor(at / inC / 221)];
      last.data[at] = x.data[(n * inC + c) * 221 + pixel]!;
    });
    const hashes = new Set<string>();
    for (const threads of [1, 2, 3]) {
      for (const salt of [1, 2, 3]) {
        const rt = await makeRuntime({ threads, numerics: 'exact' }, 320 + salt);
        const options = { groups, stride, activation: 'silu' } as const;
        const first = await rt.convTranspose2d(x, w, options);
        const other = rt.convTranspose2dSync(last, w, { ...options, layout: 'nhwc' });
        hashes.add(bytesHash(first.data));
        hashes.add(bytesHash(Float32Array.from(planesOf(other, 'nhwc').data)));
        await rt.close();
      }
    }
    t.equal(hashes.size, 1, `${inC} to ${outC} channels in ${groups} groups, stride ${stride}`);
  }
  t.end();
});

/** Columns of five images do not fit the bound on scratch memory: they are taken three and two at a time. */
const MANY = { batch: 5, inC: 8, outC: 64, image: [64, 64], filter: [4, 4] } as const;

test(seeded('convTranspose2d: images that are taken a few at a time'), async (t) => {
  const rt = await makeRuntime({ numerics: 'exact' }, 330);
  const random = new Random(2330);
  const { x, w } = ask(random, MANY);
  const options = { stride: 2, padding: 1, bias: array(random, [64]) } as const;
  const together = await rt.convTranspose2d(x, w, options);
  const size = 8 * 64 * 64;
  for (let n = 0; n < MANY.batch; n++) {
    const image = { data: x.data.subarray(n * size, (n + 1) * size), shape: [1, 8, 64, 64] };
    const alone = rt.convTranspose2dSync(image, w, options);
    const part = together.data.subarray(n * alone.size, (n + 1) * alone.size);
    t.equal(bitDifference(part, alone.data), undefined, `image ${n} as when it is alone`);
    alone.dispose();
  }
  await rt.close();
  t.end();
});

test(seeded('convTranspose2d: progress, and an abort at any moment'), async (t) => {
  const rt = await makeRuntime({}, 340);
  const random = new Random(2340);
  const asked = ask(random, MANY);
  const [x, w] = [rt.tensor(asked.x.data, asked.x.shape), rt.tensor(asked.w.data, asked.w.shape)];
  const seen: number[] = [];
  let whole = 0;
  const onProgress = ({ done, total }: { done: number; total: number }) => {
    seen.push(done);
    whole = total;
  };
  (await rt.convTranspose2d(x, w, { stride: 2, onProgress })).dispose();
  t.equal(seen.at(-1), whole, 'ends at its total');
  t.ok(
    seen.every((done, at) => at === 0 || done > seen[at - 1]!),
    'and rises',
  );
  const before = rt.memory().used;
  let stopped = 0;
  for (let turns = 0; turns < 12; turns++) {
    const controller = new AbortController();
    const reason = new Error(`after ${turns} turns`);
    const call = rt.convTranspose2d(x, w, { stride: 2, signal: controller.signal }).then(
      (result) => result.dispose(),
      (error: unknown) => {
        stopped++;
        t.equal(error, reason, 'an aborted call rejects with the reason of its signal');
      },
    );
    for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setTimeout(resolve, 4));
    controller.abort(reason);
    await call;
  }
  t.ok(stopped > 0, `${stopped} of 12 calls were stopped`);
  t.equal(rt.memory().used, before, 'memory is back');
  await rt.close();
  t.end();
});

test(seeded('convTranspose2d: nothing in, nothing out, nothing to sum'), async (t) => {
  const rt = await makeRuntime({}, 350);
  const random = new Random(2350);
  const cases: [string, Extents, Omit<AskedTranspose, 'x' | 'w'>?][] = [
    ['no images', { batch: 0, inC: 3, outC: 4, image: [5, 5], filter: [2, 2] }],
    ['no channels in', { inC: 0, outC: 4, image: [5, 6], filter: [3, 2] }],
    ['no channels out', { inC: 3, outC: 0, image: [5, 6], filter: [3, 2] }],
    ['no rows', { inC: 3, outC: 4, image: [0, 6], filter: [3, 2] }, { padding: 'same' }],
    ['no taps', { inC: 3, outC: 4, image: [5, 6], filter: [0, 0] }, { padding: 'same' }],
  ];
  for (const layout of LAYOUTS) {
    for (const [name, extents, options] of cases) {
      const asked = ask(random, extents, { ...options, layout, bias: array(random, [extents.outC]) });
      for (const sync of [true, false])
        t.equal(await faultIn(rt, random, asked, sync), undefined, `${layout}, ${name}`);
    }
  }
  await rt.close();
  t.end();
});

async function codeOf(attempt: () => unknown): Promise<string> {
  try {
    await attempt();
    return 'no error';
  } catch (error) {
    return (error as TesseraeError).code;
  }
}

test('convTranspose2d: arguments are checked before memory is taken, and memory that is short is given back', async (t) => {
  const rt = await makeRuntime({ memory: { initial: 0, maximum: 8 * 2 ** 20 } }, 360);
  const random = new Random(2360);
  const { x, w } = ask(random, { inC: 4, outC: 6, image: [5, 5], filter: [3, 3] });
  const before = rt.memory().used;
  const wrong: [string, string, object][] = [
    ['outputPadding as large as the stride', 'E_ARGUMENT', { stride: 2, outputPadding: 2 }],
    ['negative outputPadding', 'E_ARGUMENT', { stride: 2, outputPadding: -1 }],
    ['stride 0', 'E_ARGUMENT', { stride: 0 }],
    ['padding of three sides', 'E_ARGUMENT', { padding: [1, 1, 1] }],
    ['padding that is no word', 'E_ARGUMENT', { padding: 'full' }],
    ['padding that leaves nothing', 'E_SHAPE', { padding: 4 }],
    ['groups that do not divide', 'E_SHAPE', { groups: 3 }],
    ['a bias of another extent', 'E_SHAPE', { bias: array(random, [5]) }],
    ['a residual of another shape', 'E_SHAPE', { residual: array(random, [1, 6, 5, 5]) }],
    ['an option that is none', 'E_ARGUMENT', { algorithm: 'gemm' }],
  ];
  for (const [name, code, options] of wrong) {
    t.equal(await codeOf(() => rt.convTranspose2dSync(x, w, options)), code, `${name}, sync`);
    t.equal(await codeOf(() => rt.convTranspose2d(x, w, options)), code, `${name}, async`);
  }
  const other = array(random, [5, 6, 3, 3]);
  t.equal(await codeOf(() => rt.convTranspose2dSync(x, other)), 'E_SHAPE', 'weights of other channels');
  // 256 * 9 columns of 32 * 32 floats are more than all of the memory, operands and result are not
  const large = ask(random, { inC: 1, outC: 256, image: [32, 32], filter: [3, 3] });
  for (const layout of LAYOUTS) {
    const image = { ...large.x, shape: layout === 'nchw' ? [1, 1, 32, 32] : [1, 32, 32, 1] };
    const options = { layout, padding: 1 } as const;
    t.equal(
      await codeOf(() => rt.convTranspose2dSync(image, large.w, options)),
      'E_MEMORY',
      `${layout}, sync`,
    );
    t.equal(await codeOf(() => rt.convTranspose2d(image, large.w, options)), 'E_MEMORY', `${layout}, async`);
  }
  t.equal(rt.memory().byOwner.tensors + rt.memory().byOwner.scratch, 0, 'nothing is held');
  t.equal(before, rt.memory().used, 'all of it is back');
  await rt.close();
  t.equal(await codeOf(() => rt.convTranspose2d(x, w)), 'E_CLOSED', 'a closed runtime says so');
  t.end();
});
