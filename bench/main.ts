/**
 * `npm run bench`: the command's bench with peers on a short list, from the sources.
 * `npm run bench -- --suite resnet50 --threads 1`: the same command with other options.
 * `npm run bench -- kernels [...]`: one of the suites in this folder.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** By name, its file in this folder. */
const SUITES: Readonly<Record<string, string>> = {
  matmul: 'matmul.bench.ts',
  kernels: 'kernels.bench.ts',
  story: 'story.bench.ts',
  regret: 'regret.ts',
  integers: 'integers.ts',
  cold: 'cold.ts',
  memory: 'memory.ts',
  polite: 'polite.ts',
  apart: 'apart.ts',
  soak: 'soak.ts',
  limits: 'limits.ts',
};

const [first, ...rest] = process.argv.slice(2);
const suite = SUITES[first ?? ''];
if (suite) await runSuite(suite, rest);
else if (first === 'models') await command((await import('./models.ts')).modelArguments(rest));
else if (first === undefined || first.startsWith('-')) await command(process.argv.slice(2));
else {
  console.error(`There is no suite "${first}"; there are ${[...Object.keys(SUITES), 'models'].join(', ')}.`);
  console.error('Shape lists are given as --suite NAME: see `npm run bench -- --help`.');
  process.exitCode = 2;
}

async function runSuite(file: string, args: readonly string[]): Promise<void> {
  if (args.includes('--help') || args.includes('-h')) return console.log(usageOf(file));
  const { main } = (await import(`./${file}`)) as { main(args: readonly string[]): Promise<void> };
  try {
    await main(args);
  } catch (error) {
    const { code = '', message } = error as NodeJS.ErrnoException;
    if (!code.startsWith('ERR_PARSE_ARGS')) throw error;
    console.error(`${message}\n\n${usageOf(file)}`);
    process.exitCode = 2;
  }
}

/** What a suite's file begins with says what it measures and which options it has. */
function usageOf(file: string): string {
  const text = readFileSync(new URL(file, import.meta.url), 'utf8');
  const [, comment = ''] = /^\/\*\*\n([\s\S]*?) \*\//.exec(text) ?? [];
  return comment.replace(/^ \* ?/gm, '').trimEnd();
}

/** Becomes the command itself: its bench starts child processes by the path in argv. */
async function command(args: readonly string[]): Promise<void> {
  const main = fileURLToPath(new URL('../src/cli/main.ts', import.meta.url));
  const given = args.length > 0 ? args : ['--suite', 'quick', '--peers'];
  process.argv.splice(1, process.argv.length, main, 'bench', ...given);
  await import('../src/cli/main.ts');
}
