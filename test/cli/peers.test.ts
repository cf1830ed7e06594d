import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'tape';
import { PEERS } from '../../src/cli/bench/peers/index.ts';
import { findPackage, importPackage } from '../../src/cli/bench/peers/resolve.ts';
import { race } from '../../src/cli/bench/race.ts';
import { startPeer } from '../../src/cli/bench/remote.ts';
import { parseShape } from '../../src/cli/shapes/index.ts';
import { QUICK_RACE, SELF } from './support.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const SHAPES = [
  '17x33x29',
  '17x33x29 transposeB',
  '17x33x29 prepacked bias=row relu',
  '2x17x33x29 transposeB',
  '17x33x33 chain=3',
  'conv 1x5x9x11 7 3x3 p1 bias relu',
  'conv 2x3x13x9 8 5x3 s2.1 p1.0.2.1 bias hardSwish',
  'conv 1x4x10x10 6 3x3 d2 p2 silu',
  'conv 1x8x9x9 8 3x3 s2 p0.0.1.1 g8 bias clip=0:6',
  'conv 1x6x8x8 12 3x3 p1 g6 bias leakyRelu=0.1',
  'conv 1x6x7x7 9 1x1 g3 clip=-1:0.5',
  'int8 17x33x29',
  'int8 1x67x5 azero=0 bzero=-128',
  'int8 5x300x64 azero=255 bzero=127',
];

function folderWith(files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(tmpdir(), 'tesserae-peers-'));
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(join(folder, name, '..'), { recursive: true });
    writeFileSync(join(folder, name), content);
  }
  return folder;
}

test('peers: each gives right answers in its own process, or says why it is absent', async (t) => {
  // what computes on a GPU takes a second for each shape on a software adapter
  for (const { id } of PEERS.filter(({ onGpu }) => !onGpu)) {
    const peer = await startPeer(id, { threads: 1, searchFrom: [ROOT] }, { self: SELF });
    if ('absent' in peer) {
      t.ok(peer.absent.length > 0, `${id}: ${peer.absent}`);
      t.comment(`SKIP ${id}: ${peer.absent}`);
      continue;
    }
    t.equal(peer.info.id, id);
    for (const text of SHAPES) {
      const {
        outcomes: [outcome],
      } = await race([peer], parseShape(text), QUICK_RACE);
      const reason = outcome !== undefined && 'reason' in outcome ? `: ${outcome.reason}` : '';
      // The reference that the tables divide by must never quietly drop out.
      const mayRefuse = !id.startsWith('onnxruntime');
      t.ok(
        outcome?.status === 'timed' || (mayRefuse && outcome?.status === 'unsupported'),
        `${id} ${text} ${outcome?.status}${reason}`,
      );
    }
    await peer.close();
  }
  t.end();
});

test('peers: an absent one is one line with what to do', async (t) => {
  const folder = folderWith({});
  const peer = await startPeer('onnxruntime-web', { threads: 1, searchFrom: [folder] }, { self: SELF });
  t.deepEqual(peer, { absent: 'not installed (npm install --save-dev onnxruntime-web)' });
  const unknown = await startPeer('nobody', { threads: 1, searchFrom: [folder] }, { self: SELF });
  t.deepEqual(unknown, { absent: 'there is no adapter called nobody' });
  rmSync(folder, { recursive: true });
  t.end();
});

test('peers: one that is installed and broken is absent with its reason', async (t) => {
  const folder = folderWith({
    'node_modules/@jax-js/jax/package.json': '{"version":"9.9.9","type":"module","exports":"./index.js"}',
    'node_modules/@jax-js/jax/index.js': 'throw new Error("planted");',
    'node_modules/onnxruntime-web/package.json': '{"version":"9.9.9","type":"module","exports":"./index.js"}',
    'node_modules/onnxruntime-web/index.js': 'process.stderr.write("last words"); process.abort();',
  });
  const broken = await startPeer('jax-js', { threads: 1, searchFrom: [folder] }, { self: SELF });
  t.deepEqual(broken, { absent: 'installed (9.9.9), but does not load: planted' });
  const crashed = await startPeer('onnxruntime-web', { threads: 1, searchFrom: [folder] }, { self: SELF });
  t.match(
    'absent' in crashed ? crashed.absent : '',
    /its process ended/,
    'a crash takes only its own process',
  );
  rmSync(folder, { recursive: true });
  t.end();
});

test('peers: packages are found and entered as Node does', async (t) => {
  const folder = folderWith({
    'node_modules/conditions/package.json':
      '{"version":"1.0.0","type":"module","exports":{".":{"browser":"./no.js","node":{"require":"./no.cjs","import":"./yes.js"},"default":"./no.js"}}}',
    'node_modules/conditions/yes.js': 'export const probe = 1;',
    'node_modules/common/package.json': '{"version":"2.0.0","main":"lib.js"}',
    'node_modules/common/lib.js': 'exports.probe = 2; exports.__esModule = true;',
    'deep/er/file.txt': '',
  });
  for (const [name, value] of [
    ['conditions', 1],
    ['common', 2],
  ] as const) {
    const found = findPackage(name, [join(folder, 'deep/er')]);
    if ('absent' in found) return t.fail(`${name}: ${found.absent}`);
    t.equal((await importPackage<{ probe: number }>(found, 'probe')).probe, value, name);
  }
  t.ok('absent' in findPackage('missing', [folder]), 'missing');
  rmSync(folder, { recursive: true });
  t.end();
});
