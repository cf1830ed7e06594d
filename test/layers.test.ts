/**
 * The shape of the house: imports go one way, there are no cycles, and no file grows beyond what one can read at a sitting.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'tape';
import ts from 'typescript';
import { seeded } from './support/seed.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const MOST_LINES = 500;

/** From the top down. A folder may import its own files and those of folders after it. */
const LAYERS = ['onnx', 'ops', 'tune', 'schedule', 'backends', 'plan', 'kernels', 'problem', 'core'];
/** On top of the public library: they see it from outside, through its entries. */
const OUTSIDE = ['cli', 'pool'];
const ENTRIES = ['src/index.ts', 'src/onnx/index.ts'];

interface Import {
  readonly from: string;
  readonly to: string;
}

function filesOf(folder: string, endings: readonly string[]): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .map((name) => join(folder, name).split(sep).join('/'))
    .filter((name) => endings.some((ending) => name.endsWith(ending)) && !name.split('/').includes('gen'))
    .sort();
}

/** Everything that a source names as a module: imports, re-exports, import types and dynamic imports. */
function specifiersOf(file: string, text: string): string[] {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    const named =
      ts.isImportDeclaration(node) || ts.isExportDeclaration(node) ? node.moduleSpecifier : undefined;
    if (named && ts.isStringLiteral(named)) found.push(named.text);
    if (
      ts.isImportTypeNode(node) &&
      ts.isLiteralTypeNode(node.argument) &&
      ts.isStringLiteral(node.argument.literal)
    ) {
      found.push(node.argument.literal.text);
    }
    if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      const [argument] = node.arguments;
      if (argument && ts.isStringLiteral(argument)) found.push(argument.text);
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

function importsOf(file: string, text: string): Import[] {
  const folder = dirname(join(ROOT, file));
  return specifiersOf(file, text)
    .filter((name) => name.startsWith('.'))
    .map((name) => ({ from: file, to: relative(ROOT, resolve(folder, name)).split(sep).join('/') }));
}

/** `src/backends/wasm/team.ts` -> ['backends', 'wasm', 'team.ts'] */
function partsOf(file: string): string[] {
  return file.replace(/^src\//, '').split('/');
}

/** Why an import goes against the order, or undefined. */
function arrowFault({ from, to }: Import): string | undefined {
  const say = (why: string) => `${from} -> ${to}: ${why}`;
  if (!to.startsWith('src/')) return say('leaves src');
  const [fromParts, toParts] = [partsOf(from), partsOf(to)];
  const [fromTop, toTop] = [fromParts[0]!, toParts[0]!];
  if (from === 'src/index.ts')
    return [...OUTSIDE, 'onnx'].includes(toTop) ? say('the library does not know who uses it') : undefined;
  if (OUTSIDE.includes(fromTop))
    return toTop === fromTop || ENTRIES.includes(to)
      ? undefined
      : say('only the public names and its own folder');
  if (toParts.length === 1) return say('nothing below the public names imports them');
  const [upper, lower] = [LAYERS.indexOf(fromTop), LAYERS.indexOf(toTop)];
  if (upper < 0 || lower < 0) return say('a folder that has no place in the order');
  if (upper > lower) return say('goes back up');
  if (fromTop === 'backends' && toTop === 'backends') return backendFault(fromParts, toParts, say);
  return undefined;
}

/** backends/<x> sees backends/types.ts and itself, no other backend. */
function backendFault(
  from: readonly string[],
  to: readonly string[],
  say: (why: string) => string,
): string | undefined {
  if (to.join('/') === 'backends/types.ts') return undefined;
  if (from.length > 2 && from[1] !== to[1]) return say('one backend knows of another');
  return undefined;
}

/** A cycle as the files along it, or undefined. */
function findCycle(imports: readonly Import[]): string[] | undefined {
  const next = new Map<string, string[]>();
  for (const { from, to } of imports) next.set(from, [...(next.get(from) ?? []), to]);
  const done = new Set<string>();
  const walk = (file: string, path: readonly string[]): string[] | undefined => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file];
    if (done.has(file)) return undefined;
    for (const to of next.get(file) ?? []) {
      const cycle = walk(to, [...path, file]);
      if (cycle) return cycle;
    }
    done.add(file);
    return undefined;
  };
  for (const file of next.keys()) {
    const cycle = walk(file, []);
    if (cycle) return cycle;
  }
  return undefined;
}

const sources = filesOf('src', ['.ts']);
const imports = sources.flatMap((file) => importsOf(file, readFileSync(join(ROOT, file), 'utf8')));

test(seeded('layers: imports go one way'), (t) => {
  t.ok(sources.length > 40 && imports.length > 100, `${sources.length} files, ${imports.length} imports`);
  t.deepEqual(
    imports.map(arrowFault).filter((fault) => fault !== undefined),
    [],
    'no arrow goes back up',
  );
  const known = [...LAYERS, ...OUTSIDE, 'index.ts'];
  const strangers = readdirSync(join(ROOT, 'src')).filter((name) => !known.includes(name));
  t.deepEqual(strangers, [], 'every folder has its place');
  t.end();
});

test(seeded('layers: no cycles'), (t) => {
  t.equal(findCycle(imports)?.join(' -> '), undefined);
  t.end();
});

test(seeded('layers: the check finds what it should'), (t) => {
  const bad: [string, string][] = [
    ['src/core/math.ts', 'src/problem/matmul.ts'],
    ['src/plan/planner.ts', 'src/tune/tune.ts'],
    ['src/plan/planner.ts', 'src/backends/types.ts'],
    ['src/schedule/lower/lower.ts', 'src/ops/core.ts'],
    ['src/backends/wasm/check.ts', 'src/backends/reference/matmul.ts'],
    ['src/backends/wasm/check.ts', 'src/backends/registry.ts'],
    ['src/backends/wasm/check.ts', 'src/schedule/lower/lower.ts'],
    ['src/cli/main.ts', 'src/ops/runtime.ts'],
    ['src/ops/core.ts', 'src/index.ts'],
    ['src/cli/main.ts', 'src/onnx/session.ts'],
    ['src/ops/tape.ts', 'src/onnx/session.ts'],
    ['src/index.ts', 'src/onnx/index.ts'],
    ['src/ops/core.ts', 'src/cli/main.ts'],
    ['src/index.ts', 'src/cli/main.ts'],
    ['src/ops/core.ts', 'src/misc/x.ts'],
    ['src/cli/package.ts', 'package.json'],
  ];
  for (const [from, to] of bad) t.ok(arrowFault({ from, to }), `${from} -> ${to} is refused`);
  const good: [string, string][] = [
    ['src/ops/matmul.ts', 'src/backends/reference/matmul.ts'],
    ['src/backends/wasm/encode.ts', 'src/backends/types.ts'],
    ['src/backends/wasm/encode.ts', 'src/kernels/table.ts'],
    ['src/cli/main.ts', 'src/index.ts'],
    ['src/cli/main.ts', 'src/onnx/index.ts'],
    ['src/onnx/session.ts', 'src/ops/tape.ts'],
  ];
  for (const [from, to] of good) t.notOk(arrowFault({ from, to }), `${from} -> ${to} is allowed`);
  t.deepEqual(
    findCycle([
      { from: 'a', to: 'b' },
      { from: 'b', to: 'c' },
      { from: 'c', to: 'b' },
    ]),
    ['b', 'c', 'b'],
    'a cycle',
  );
  const text =
    "import type { A } from './a.ts';\nexport * from './b.ts';\nconst c = await import('./c.ts');\ntype D = import('./d.ts').D;";
  t.deepEqual(specifiersOf('x.ts', text), ['./a.ts', './b.ts', './c.ts', './d.ts'], 'every form of import');
  t.end();
});

test(seeded(`files: none longer than ${MOST_LINES} lines`), (t) => {
  const files = ['src', 'assembly', 'bench', 'test', 'examples', 'scripts'].flatMap((folder) =>
    filesOf(folder, ['.ts', '.mjs']),
  );
  t.ok(files.length > 80, `${files.length} files`);
  const long = files
    .map((file) => [file, readFileSync(join(ROOT, file), 'utf8').trimEnd().split('\n').length] as const)
    .filter(([, lines]) => lines > MOST_LINES);
  t.deepEqual(long, []);
  t.end();
});
