/** Wisdom: what goes in comes out, better effort wins, and whatever is wrong with a text, nothing of it is used. */
import test from 'tape';
import { hashText } from '../../src/core/hash.ts';
import type { GpuProfile } from '../../src/plan/gpu.ts';
import type { MachineProfile } from '../../src/plan/machine.ts';
import type { Effort, Plan } from '../../src/plan/plan.ts';
import { memoryStore } from '../../src/plan/stores/memory.ts';
import type { WisdomStore } from '../../src/plan/stores/types.ts';
import { MAX_ENTRIES, WISDOM_SCHEMA, Wisdom } from '../../src/plan/wisdom.ts';
import { entry, PLAN, SIGNATURE, wisdomError } from './wisdom-support.ts';

const MACHINE: MachineProfile = {
  peakGflops: 58,
  readGBs: 12,
  readGBsAllThreads: 20,
  wakeUs: 15,
  kernelGflops: { f32_gemm_4x8__simd: 54 },
};

const GPU: GpuProfile = {
  launchMs: 0.2,
  passMs: 0.01,
  readbackMs: 0.1,
  uploadGBs: 9,
  downloadGBs: 6,
  memoryGBs: 800,
  peakGflops: 62_000,
  kernelGflops: { f32_gemm_32x32x16_2x4__wgsl: 15_000 },
  kernelStepMs: { f32_gemm_32x32x16_2x4__wgsl: 1e-4 },
  gatherGflops: {},
  gatherStepMs: {},
};

/** A text as `export()` makes it, of these body lines: the way to write a text that is well signed but wrong. */
function signed(
  lines: readonly string[],
  entries = lines.length,
  signature = SIGNATURE,
  schema = WISDOM_SCHEMA,
): string {
  const body = lines.map((line) => `${line}\n`).join('');
  const head = { format: 'tesserae-wisdom', schema, signature, entries };
  return `${JSON.stringify({ ...head, checksum: hashText(`${JSON.stringify(head)}\n${body}`) })}\n${body}`;
}

function line(key: string, change: object = {}, planChange: object = {}): string {
  return JSON.stringify({
    key,
    plan: { ...PLAN, ...planChange },
    effort: 'measure',
    ms: 1,
    at: 1,
    ...change,
  });
}

function sample(): string {
  const wisdom = new Wisdom(undefined, SIGNATURE);
  wisdom.setMachine(MACHINE);
  wisdom.put('b', entry(8));
  wisdom.put('a', entry(4, 'estimate'));
  return wisdom.export();
}

/** Reads a text from a store and says what became of it. */
function load(
  text: string,
  isPlanValid?: (plan: Plan) => string | undefined,
): { size: number; reasons: string[] } {
  const reasons: string[] = [];
  const wisdom = new Wisdom(memoryStore(text), SIGNATURE, (reason) => reasons.push(reason), isPlanValid);
  return { size: wisdom.size + (wisdom.machine === undefined ? 0 : 1), reasons };
}

test('wisdom: round trip through a store', (t) => {
  const store = memoryStore();
  const first = new Wisdom(store, SIGNATURE);
  first.setMachine(MACHINE);
  first.put('k', entry(4, 'exhaustive', 7));
  first.put('e', entry(5, 'estimate', 8));
  first.setGpu('one card', GPU);
  first.setGpu('another', { ...GPU, launchMs: 3 });
  t.equal(first.get('k')?.plan.mc, 4, 'there at once');
  t.equal(store.read(), undefined, 'nothing is written before save');
  t.equal(first.save(), true, 'save writes');
  t.equal(first.save(), false, 'and has nothing to do then');
  const reasons: string[] = [];
  const second = new Wisdom(store, SIGNATURE, (reason) => reasons.push(reason));
  t.deepEqual(second.list(), first.list(), 'the same list');
  t.deepEqual(second.machine, MACHINE, 'the same machine');
  t.deepEqual(second.gpu('one card'), GPU, 'the same GPU');
  t.equal(second.gpu('another')?.launchMs, 3, 'and the other');
  t.equal(second.gpu('a third'), undefined);
  t.equal(second.get('k')?.at, 7);
  t.equal(second.get('e')?.ms, undefined, 'an estimate has no time');
  t.equal(second.get('nothing'), undefined);
  t.equal(second.export(), store.read(), 'equal tables give equal texts');
  t.equal(second.dirty, false, 'reading changes nothing');
  t.deepEqual(reasons, []);
  t.equal(new Wisdom(undefined, SIGNATURE).save(), false, 'without a store there is nothing to save');
  t.end();
});

test('wisdom: better effort replaces worse, newer replaces older', (t) => {
  const efforts: Effort[] = ['estimate', 'measure', 'exhaustive'];
  for (const [i, old] of efforts.entries()) {
    for (const [j, next] of efforts.entries()) {
      const wisdom = new Wisdom(undefined, SIGNATURE);
      wisdom.put('k', entry(1, old, 5));
      const isTaken = wisdom.put('k', entry(2, next, 6));
      t.equal(isTaken, j >= i, `put ${next} over ${old}`);
      t.equal(wisdom.get('k')?.plan.mc, j >= i ? 2 : 1);
      for (const at of [4, 6]) {
        const merged = new Wisdom(undefined, SIGNATURE);
        merged.put('k', entry(1, old, 5));
        const taken = merged.import(signed([line('k', { effort: next, at }, { mc: 2 })]));
        t.equal(taken, j > i || (j === i && at > 5) ? 1 : 0, `import ${next} of ${at} over ${old} of 5`);
      }
    }
  }
  t.end();
});

test('wisdom: a plan that is no plan is a fault of the caller', (t) => {
  const wisdom = new Wisdom(undefined, SIGNATURE);
  const bad = { ...entry(1), plan: { ...PLAN, mc: 0 } };
  t.ok(
    wisdomError(() => wisdom.put('k', bad)),
    'mc 0',
  );
  t.ok(
    wisdomError(() => wisdom.put('', entry(1))),
    'empty key',
  );
  t.ok(
    wisdomError(() => wisdom.put('k', { ...entry(1), ms: Number.NaN })),
    'NaN ms',
  );
  t.ok(
    wisdomError(() => wisdom.setMachine({ ...MACHINE, wakeUs: Number.POSITIVE_INFINITY })),
    'infinite wakeUs',
  );
  t.equal(wisdom.size, 0);
  t.equal(wisdom.machine, undefined);
  const mutable = { ...PLAN };
  wisdom.put('k', { ...entry(1), plan: mutable });
  mutable.mc = 7;
  t.equal(wisdom.get('k')?.plan.mc, 96, 'the table keeps its own copy');
  t.end();
});

test('wisdom: truncated at every byte', (t) => {
  const bytes = Buffer.from(sample());
  let refused = 0;
  for (let length = 0; length < bytes.length; length++) {
    const { size, reasons } = load(bytes.subarray(0, length).toString());
    if (size === 0 && reasons.length === 1) refused++;
  }
  t.equal(refused, bytes.length, `${bytes.length} prefixes refused, each with one reason`);
  t.deepEqual(load(bytes.toString()), { size: 3, reasons: [] }, 'the whole is taken');
  t.end();
});

test('wisdom: every bit flipped, and bytes lost, doubled, appended', (t) => {
  const bytes = Buffer.from(sample());
  let refused = 0;
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const flipped = Buffer.from(bytes);
    flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    const { size, reasons } = load(flipped.toString());
    if (size === 0 && reasons.length === 1) refused++;
  }
  t.equal(refused, bytes.length * 8, `${refused} texts with one wrong bit refused`);
  const text = bytes.toString();
  const lines = text.split('\n');
  const others = {
    'a line lost': [...lines.slice(0, 2), ...lines.slice(3)].join('\n'),
    'a line doubled': [...lines.slice(0, 3), ...lines.slice(2)].join('\n'),
    'lines swapped': [lines[0], lines[1], lines[3], lines[2], ''].join('\n'),
    'a blank line appended': `${text}\n`,
    'a blank in the header': text.replace('{', '{ '),
    'other line ends': text.replaceAll('\n', '\r\n'),
    'two texts joined': text + text,
  };
  for (const [what, bad] of Object.entries(others)) {
    const { size, reasons } = load(bad);
    t.ok(size === 0 && reasons.length === 1, `${what}: ${reasons[0]}`);
  }
  t.end();
});

const WRONG: Readonly<Record<string, readonly [string, RegExp]>> = {
  'another signature': [signed([line('k')], 1, 's1-other'), /signature/],
  'another schema': [signed([line('k')], 1, SIGNATURE, WISDOM_SCHEMA - 1), /schema/],
  'another format': ['{"format":"something-else"}\n', /not a wisdom file/],
  'no JSON': ['hello\n', /line 1 is not a JSON object/],
  nothing: ['', /header/],
  'a JSON array': ['[]\n', /line 1/],
  'wrong count': [signed([line('k')], 2), /number of entries/],
  'the same key twice': [signed([line('k'), line('k')]), /twice/],
  'an empty key': [signed([line('')]), /key/],
  'a key beyond bounds': [signed([line('x'.repeat(513))]), /key/],
  'an unknown effort': [signed([line('k', { effort: 'heroic' })]), /effort/],
  'a negative time': [signed([line('k', { ms: -1 })]), /ms/],
  'time null': [signed([line('k', { ms: null })]), /ms/],
  'no date': [signed([line('k', { at: undefined })]), /at/],
  'an unknown field': [signed([line('k', { extra: 1 })]), /unknown field extra/],
  'plan null': [signed([line('k', { plan: null })]), /plan/],
  'plan array': [signed([line('k', { plan: [] })]), /plan/],
  'an unknown backend': [signed([line('k', {}, { backend: 'abacus' })]), /backend/],
  'a kernel that is no string': [signed([line('k', {}, { kernel: 5 })]), /kernel/],
  'a fractional block': [signed([line('k', {}, { kc: 1.5 })]), /kc/],
  'no threads': [signed([line('k', {}, { threads: 0 })]), /threads/],
  'an unknown plan field': [signed([line('k', {}, { split: 2 })]), /unknown field split/],
  'an inherited name': [signed([line('k').replace('"mc"', '"__proto__"')]), /mc/],
  'a second machine': [
    signed(
      [...Array(2)].map(() => JSON.stringify({ machine: MACHINE })),
      0,
    ),
    /line 3/,
  ],
  'a bad machine': [signed([JSON.stringify({ machine: { ...MACHINE, readGBs: -1 } })], 0), /readGBs/],
  'a bad kernel speed': [
    signed([JSON.stringify({ machine: { ...MACHINE, kernelGflops: { x: 'fast' } } })], 0),
    /kernelGflops/,
  ],
  'a bad GPU': [signed([JSON.stringify({ gpu: 'x', profile: { ...GPU, launchMs: null } })], 0), /launchMs/],
  'a GPU without a name': [signed([JSON.stringify({ gpu: '', profile: GPU })], 0), /without a name/],
  'one bad entry behind good ones': [signed([line('a'), line('b'), line('c', { at: 'now' })]), /line 4/],
  huge: ['x'.repeat(64 * 2 ** 20 + 1), /too large/],
};

test('wisdom: well signed but wrong, at load and at import', (t) => {
  for (const [what, [text, expected]] of Object.entries(WRONG)) {
    const { size, reasons } = load(text);
    t.ok(
      size === 0 && reasons.length === 1 && expected.test(reasons[0] ?? ''),
      `load: ${what}: ${reasons[0]}`,
    );
    const wisdom = new Wisdom(undefined, SIGNATURE);
    wisdom.put('a', entry(3, 'estimate', 0));
    wisdom.put('kept', entry(4));
    const before = wisdom.export();
    const error = wisdomError(() => wisdom.import(text));
    t.ok(error !== undefined && error.values.reason === reasons[0] && error.hint !== '', `import: ${what}`);
    t.equal(wisdom.export(), before, 'and the table is as it was');
  }
  const wisdom = new Wisdom(undefined, SIGNATURE);
  wisdom.put('kept', entry(4));
  t.equal(wisdom.import(sample()), 2, 'a good text is taken');
  t.deepEqual(
    wisdom.list().map(({ key }) => key),
    ['a', 'b', 'kept'],
    'beside what was there',
  );
  const error = wisdomError(() =>
    new Wisdom(undefined, SIGNATURE).import(signed([line('k')], 1, 's1-other')),
  );
  t.deepEqual(error?.values.found, 's1-other', 'the values name the signature found');
  t.deepEqual(error?.values.expected, SIGNATURE, 'and the one expected');
  t.end();
});

test('wisdom: plans are checked by the validator passed in', (t) => {
  const isPlanValid = (plan: Plan) => (plan.kernel === 'gone' ? 'there is no kernel gone' : undefined);
  const text = signed([line('a'), line('b', {}, { kernel: 'gone' })]);
  const { size, reasons } = load(text, isPlanValid);
  t.equal(size, 0, 'refused as a whole');
  t.match(reasons[0] ?? '', /^b: there is no kernel gone/);
  t.equal(load(text).size, 2, 'the text itself is sound');
  const wisdom = new Wisdom(undefined, SIGNATURE, () => {}, isPlanValid);
  t.match(wisdomError(() => wisdom.import(text))?.message ?? '', /no kernel gone/);
  t.equal(wisdom.size, 0);
  t.end();
});

test('wisdom: a text that was sound once is asked all that may have changed since', (t) => {
  const signature = 's1-known';
  const text = signed([line('a'), line('b', {}, { kernel: 'gone' })], 2, signature);
  const read = (from: string, isPlanValid?: (plan: Plan) => string | undefined) => {
    const reasons: string[] = [];
    const store = { name: 'a store', read: () => from, write: () => undefined };
    const wisdom = new Wisdom(store, signature, (reason) => reasons.push(reason), isPlanValid);
    wisdom.load();
    return { wisdom, reasons };
  };
  const first = read(text);
  t.equal(first.wisdom.size, 2);
  first.wisdom.forget('a', 'for a test');
  first.wisdom.put('c', entry(1));
  t.deepEqual(
    read(text)
      .wisdom.list()
      .map(({ key }) => key),
    ['a', 'b'],
    'what one table forgets and learns is not in the next',
  );
  t.match(read(text, ({ kernel }) => (kernel === 'gone' ? 'gone' : undefined)).reasons[0] ?? '', /^b: gone/);
  t.match(read(text.replace('"gone"', '"gome"')).reasons[0] ?? '', /checksum/, 'a byte that changed is seen');
  first.wisdom.save();
  const saved = first.wisdom.export();
  first.wisdom.clear();
  t.deepEqual(
    read(saved)
      .wisdom.list()
      .map(({ key }) => key),
    ['b', 'c'],
    'what was written is known as it was then',
  );
  t.end();
});

test('wisdom: two writers on one store', (t) => {
  const store = memoryStore();
  const one = new Wisdom(store, SIGNATURE);
  const two = new Wisdom(store, SIGNATURE);
  one.load();
  two.load();
  one.put('one', entry(1));
  one.put('both', entry(10, 'measure', 5));
  two.put('two', entry(2));
  two.put('both', entry(20, 'exhaustive', 4));
  one.setMachine(MACHINE);
  one.setGpu('card', GPU);
  one.save();
  two.setGpu('card', { ...GPU, launchMs: 5 });
  two.save();
  t.deepEqual(
    two.list().map(({ key }) => key),
    ['both', 'one', 'two'],
    'the second took in the first',
  );
  t.equal(two.get('both')?.plan.mc, 20, 'better effort stayed');
  t.deepEqual(two.machine, MACHINE, 'the machine came along');
  t.equal(two.gpu('card')?.launchMs, 5, 'what was measured here stayed');
  one.put('more', entry(3));
  one.save();
  t.equal(one.get('both')?.plan.mc, 20, 'better effort replaced worse');
  t.equal(new Wisdom(store, SIGNATURE).size, 4, 'all is stored');
  const own = { ...MACHINE, wakeUs: 99 };
  two.setMachine(own);
  two.save();
  t.equal(
    new Wisdom(store, SIGNATURE).machine?.wakeUs,
    99,
    'a machine measured anew replaces the stored one',
  );
  t.end();
});

test('wisdom: forget, clear, and what is stored', (t) => {
  const store = memoryStore();
  const other = new Wisdom(store, SIGNATURE);
  other.put('k', entry(1));
  other.put('l', entry(2));
  other.setMachine(MACHINE);
  other.save();
  const reasons: string[] = [];
  const wisdom = new Wisdom(store, SIGNATURE, (reason) => reasons.push(reason));
  t.equal(wisdom.forget('k', 'trapped'), true);
  t.equal(wisdom.forget('k', 'trapped'), false, 'only once');
  t.deepEqual(reasons, ['k: trapped'], 'the reason is passed on');
  other.put('m', entry(3));
  other.save();
  wisdom.save();
  t.equal(wisdom.get('k'), undefined, 'another process does not bring it back');
  t.equal(wisdom.get('m')?.plan.mc, 3, 'and its other plans come');
  t.equal(new Wisdom(store, SIGNATURE).get('k'), undefined, 'nor is it stored');
  other.put('k', entry(9, 'measure', 2));
  other.save();
  wisdom.put('n', entry(4));
  wisdom.save();
  t.equal(wisdom.get('k')?.plan.mc, 9, 'another plan for the same problem is welcome');
  wisdom.setGpu('card', GPU);
  t.throws(() => wisdom.setGpu('', GPU), /without a name/);
  wisdom.clear();
  t.equal(wisdom.size, 0);
  t.equal(new Wisdom(store, SIGNATURE).size, 4, 'stored until saved');
  wisdom.save();
  const after = new Wisdom(store, SIGNATURE, (reason) => reasons.push(reason));
  t.equal(after.size, 0, 'gone');
  t.equal(after.machine, undefined, 'the machine too');
  t.equal(after.gpu('card'), undefined, 'and the GPU');
  t.equal(reasons.length, 1, 'and an empty store is no fault');
  other.save();
  other.put('late', entry(1));
  other.save();
  const command = new Wisdom(store, SIGNATURE);
  command.clear();
  command.save();
  t.equal(new Wisdom(store, SIGNATURE).size, 0, 'what was never read is cleared as well');
  t.end();
});

test('wisdom: a refused text is set aside before it is overwritten', (t) => {
  const bad = `${sample()}junk`;
  const store = memoryStore(bad);
  const reasons: string[] = [];
  const wisdom = new Wisdom(store, SIGNATURE, (reason) => reasons.push(reason));
  t.equal(wisdom.size, 0);
  t.equal(wisdom.save(), false, 'nothing new, nothing written');
  t.equal(store.read(), bad, 'and the text is still there');
  wisdom.put('k', entry(1));
  wisdom.save();
  t.equal(store.refused, bad, 'set aside');
  t.equal(reasons.length, 1, 'one warning, not one per look');
  t.equal(new Wisdom(store, SIGNATURE).size, 1, 'and replaced');
  store.write('ruined meanwhile');
  wisdom.put('l', entry(2));
  wisdom.save();
  t.equal(reasons.length, 2, 'ruined while running: a second warning');
  t.equal(new Wisdom(store, SIGNATURE).size, 2, 'and mended');
  t.equal(store.refused, bad, 'one copy is kept');
  t.end();
});

test('wisdom: a store that throws', (t) => {
  let isBroken = { read: true, write: true };
  const memory = memoryStore();
  const store: WisdomStore = {
    name: 'broken',
    read: () => {
      if (isBroken.read) throw new Error('no reading');
      return memory.read();
    },
    write: (text) => {
      if (isBroken.write) throw new Error('no writing');
      memory.write(text);
    },
  };
  const heard: string[][] = [];
  const wisdom = new Wisdom(store, SIGNATURE, (...args) => heard.push(args));
  t.equal(wisdom.get('k'), undefined, 'reading does not throw');
  t.deepEqual(heard, [['no reading', 'broken']], 'but is reported');
  wisdom.put('k', entry(1));
  t.throws(() => wisdom.save(), /no reading/, 'what cannot be read is not overwritten');
  isBroken = { read: false, write: true };
  t.throws(() => wisdom.save(), /no writing/);
  t.ok(wisdom.dirty && wisdom.get('k') !== undefined, 'the table is unharmed and still to be saved');
  isBroken = { read: false, write: false };
  t.equal(wisdom.save(), true, 'and is, once the store works');
  t.equal(new Wisdom(memory, SIGNATURE).size, 1);
  t.end();
});

test('wisdom: the table is bounded; cheap and old plans go first', (t) => {
  const wisdom = new Wisdom(undefined, SIGNATURE);
  wisdom.put('precious', entry(1, 'exhaustive', 0));
  for (let i = 0; i < MAX_ENTRIES; i++) wisdom.put(`k${i}`, entry(1, i % 2 ? 'measure' : 'estimate', i));
  t.ok(wisdom.size <= MAX_ENTRIES, `${wisdom.size} entries`);
  t.ok(wisdom.get('precious'), 'the best effort stays');
  t.equal(wisdom.get('k0'), undefined, 'the oldest estimate went');
  t.ok(wisdom.get('k1'), 'a measured plan stays');
  t.equal(
    new Wisdom(undefined, SIGNATURE).import(wisdom.export()),
    wisdom.size,
    'what it exports is imported',
  );
  t.end();
});
