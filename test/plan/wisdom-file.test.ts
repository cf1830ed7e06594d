/** The file store of wisdom: where it lies, that it is never torn, and that places which do not work say so. */
import { spawn } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'tape';
import { defaultWisdomPath, nodeFileStore } from '../../src/plan/stores/node-file.ts';
import { Wisdom } from '../../src/plan/wisdom.ts';
import { entry, SIGNATURE, wisdomError } from './wisdom-support.ts';

async function inFolder(act: (folder: string) => void | Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'tesserae-wisdom-'));
  try {
    await act(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

test('file store: default path by platform', (t) => {
  const at = (platform: string, env: Record<string, string>, home?: string, tag?: string) =>
    defaultWisdomPath(tag, { platform, env, home });
  t.equal(at('linux', {}, '/home/u'), '/home/u/.cache/tesserae/wisdom-v1.jsonl');
  t.equal(at('linux', { XDG_CACHE_HOME: '/c' }, '/home/u'), '/c/tesserae/wisdom-v1.jsonl');
  t.equal(
    at('linux', { XDG_CACHE_HOME: 'c' }, '/home/u'),
    '/home/u/.cache/tesserae/wisdom-v1.jsonl',
    'relative: ignored',
  );
  t.equal(
    at('darwin', { XDG_CACHE_HOME: '/c' }, '/Users/u'),
    '/Users/u/Library/Caches/tesserae/wisdom-v1.jsonl',
  );
  t.equal(at('win32', { LOCALAPPDATA: 'C:\\L' }, 'C:\\u'), 'C:\\L\\tesserae\\wisdom-v1.jsonl');
  t.equal(at('win32', {}, 'C:\\u'), 'C:\\u\\AppData\\Local\\tesserae\\wisdom-v1.jsonl');
  t.equal(at('linux', {}), undefined, 'no home, no file');
  t.equal(
    at('linux', {}, '/home/u', 's1-ab'),
    '/home/u/.cache/tesserae/wisdom-v1-s1-ab.jsonl',
    'one per configuration',
  );
  t.end();
});

test('file store: round trip, mode, nothing left behind, refused file', (t) => {
  return inFolder((folder) => {
    const path = join(folder, 'deep', 'er', 'wisdom-v1.jsonl');
    const store = nodeFileStore(path);
    t.equal(store.read(), undefined, 'no file is no fault');
    const wisdom = new Wisdom(store, SIGNATURE);
    wisdom.put('k', entry(1));
    wisdom.save();
    t.equal(new Wisdom(store, SIGNATURE).get('k')?.plan.mc, 1);
    if (process.platform !== 'win32') t.equal(statSync(path).mode & 0o777, 0o600, 'for the user only');
    t.deepEqual(readdirSync(join(folder, 'deep', 'er')), ['wisdom-v1.jsonl'], 'no temporary file');
    writeFileSync(path, 'first');
    const again = new Wisdom(store, SIGNATURE);
    again.put('k', entry(2));
    again.save();
    t.equal(readFileSync(`${path}.refused`, 'utf8'), 'first', 'kept for a look');
    writeFileSync(path, 'second');
    again.put('k', entry(3));
    again.save();
    t.equal(readFileSync(`${path}.refused`, 'utf8'), 'first', 'one copy only');
    t.equal(new Wisdom(store, SIGNATURE).get('k')?.plan.mc, 3);
  });
});

test('file store: places that do not work say so', (t) => {
  return inFolder((folder) => {
    const file = join(folder, 'file');
    const sub = join(folder, 'sub');
    writeFileSync(file, '');
    mkdirSync(sub);
    for (const path of [join(file, 'wisdom.jsonl'), sub]) {
      const error = wisdomError(() => nodeFileStore(path).write('text'));
      t.ok(
        error?.message.includes(path) && error.values.path === path && error.hint !== '',
        `${error?.message}`,
      );
    }
    t.ok(
      wisdomError(() => nodeFileStore(sub).read()),
      'a folder cannot be read',
    );
    const reasons: string[] = [];
    t.equal(new Wisdom(nodeFileStore(sub), SIGNATURE, (reason) => reasons.push(reason)).size, 0);
    t.equal(reasons.length, 1, 'the table goes on without');
    t.deepEqual(readdirSync(folder), ['file', 'sub'], 'no temporary file');
    if (process.getuid?.() === 0) return t.comment('SKIP read-only folder: root may write anywhere');
    chmodSync(folder, 0o500);
    t.match(wisdomError(() => nodeFileStore(join(folder, 'w')).write('text'))?.message ?? '', /EACCES/);
    chmodSync(folder, 0o700);
  });
});

test('file store: processes that write at once do not tear it', (t) => {
  return inFolder(async (folder) => {
    const path = join(folder, 'w.jsonl');
    const source = (file: string) => JSON.stringify(new URL(`../../src/plan/${file}`, import.meta.url).href);
    const script = `
      import { Wisdom } from ${source('wisdom.ts')};
      import { nodeFileStore } from ${source('stores/node-file.ts')};
      const refused = (reason) => { console.error(reason); process.exit(1); };
      const wisdom = new Wisdom(nodeFileStore(${JSON.stringify(path)}), '${SIGNATURE}', refused);
      for (let i = 0; i < 100; i++) {
        wisdom.put(process.argv[1] + i, ${JSON.stringify(entry(1))});
        wisdom.save();
      }`;
    const ends = ['a', 'b'].map((name) => {
      const args = [...process.execArgv, '--input-type=module', '-e', script, name];
      const child = spawn(process.execPath, args, { stdio: 'inherit' });
      return new Promise<number | null>((done) => child.on('exit', done));
    });
    let isOver = false;
    const codes = Promise.all(ends).finally(() => {
      isOver = true;
    });
    const reasons: string[] = [];
    let reads = 0;
    while (!isOver) {
      new Wisdom(nodeFileStore(path), SIGNATURE, (reason) => reasons.push(reason)).load();
      if (existsSync(path)) reads++;
      await new Promise((then) => setTimeout(then, 2));
    }
    t.deepEqual(await codes, [0, 0], 'both writers end well');
    t.deepEqual(reasons, [], `${reads} reads meanwhile, none refused`);
    // The last save of each is complete; what the earlier one lost to the race is only missing in the file.
    const size = new Wisdom(nodeFileStore(path), SIGNATURE).size;
    t.ok(size >= 100 && size <= 200, `${size} entries`);
  });
});
