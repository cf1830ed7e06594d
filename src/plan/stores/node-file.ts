/** Wisdom in a file of the user's cache folder. The only place of the planner that knows a file system. */
import { TesseraeError } from '../../core/errors.ts';
import { inNode, node } from '../../core/node.ts';
import type { WisdomStore } from './types.ts';

/** A thousand plans are about 250 kB. More than this is no wisdom of ours, and not worth reading in. */
const MAX_BYTES = 64 * 2 ** 20;

export interface CachePlace {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly platform: string;
  readonly home: string | undefined;
}

/** The one function that looks at the process's environment. */
export function readCachePlace(): CachePlace {
  let home: string | undefined;
  try {
    home = node('node:os').homedir();
  } catch {
    // A user id without a passwd entry, as containers have: no home is an answer, see below.
  }
  return { env: process.env, platform: process.platform, home };
}

/**
 * The cache file by the platform's habit: XDG Base Directory, ~/Library/Caches on macOS, LOCALAPPDATA on Windows.
 * With a `tag` (a signature) each configuration has a file of its own, so that two versions of Node that are used
 * in turn do not refuse and replace each other's. Undefined where the user has no home, and in browsers: keep wisdom
 * in memory.
 */
export function defaultWisdomPath(
  tag?: string,
  place: CachePlace | undefined = inNode() ? readCachePlace() : undefined,
): string | undefined {
  if (!place) return undefined;
  const { env, platform, home } = place;
  const { posix, win32 } = node('node:path');
  const path = platform === 'win32' ? win32 : posix;
  const wanted =
    platform === 'win32' ? env.LOCALAPPDATA : platform === 'darwin' ? undefined : env.XDG_CACHE_HOME;
  const usual = { win32: ['AppData', 'Local'], darwin: ['Library', 'Caches'] }[platform] ?? ['.cache'];
  // The XDG specification: relative paths are invalid and to be ignored.
  const folder = wanted && path.isAbsolute(wanted) ? wanted : home ? path.join(home, ...usual) : undefined;
  const file = tag === undefined ? 'wisdom-v1.jsonl' : `wisdom-v1-${tag}.jsonl`;
  return folder && path.join(folder, 'tesserae', file);
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : String(error);
}

function fileError(doing: string, path: string, error: unknown): TesseraeError {
  const code = codeOf(error);
  const hint = 'Pass another path as `wisdom`, or `wisdom: false` to keep plans in memory only.';
  return new TesseraeError(
    'E_WISDOM',
    `wisdom could not be ${doing}: ${path}: ${code}`,
    { path, reason: code },
    hint,
    error,
  );
}

function readWhole(path: string): string | undefined {
  try {
    const { readFileSync, statSync } = node('node:fs');
    const { size } = statSync(path);
    if (size <= MAX_BYTES) return readFileSync(path, 'utf8');
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw fileError('read', path, error);
  }
  throw fileError('read', path, `more than ${MAX_BYTES} bytes; delete the file`);
}

function discard(temporary: string): void {
  try {
    node('node:fs').rmSync(temporary, { force: true });
  } catch {
    // The reason why writing failed is told to the caller; that tidying up fails for the same reason is no news.
  }
}

/**
 * Temporary file in the same folder, then rename, which replaces atomically: of two processes the later one wins
 * and no reader sees half a file. No fsync, which can block for long: what a power cut tears, the checksum finds.
 */
function replaceWhole(path: string, text: string): void {
  const { mkdirSync, renameSync, writeFileSync } = node('node:fs');
  const { posix, win32 } = node('node:path');
  const unique = node('node:crypto').randomBytes(6).toString('hex');
  const temporary = `${path}.${process.pid}.${unique}.tmp`;
  try {
    const folder = (process.platform === 'win32' ? win32 : posix).dirname(path);
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    writeFileSync(temporary, text, { flag: 'wx', mode: 0o600 });
    renameSync(temporary, path);
  } catch (error) {
    discard(temporary);
    throw fileError('written', path, error);
  }
}

/** The first refused file is kept and later ones are not, so that a bad habit does not fill the disk. */
function keepOnce(path: string, text: string): void {
  try {
    node('node:fs').writeFileSync(path, text, { flag: 'wx', mode: 0o600 });
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw fileError('set aside', path, error);
  }
}

export function nodeFileStore(path: string): WisdomStore {
  return {
    name: path,
    read: () => readWhole(path),
    write: (text) => replaceWhole(path, text),
    setAside: (text) => keepOnce(`${path}.refused`, text),
  };
}
