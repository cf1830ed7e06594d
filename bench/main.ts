/**
 * `npm run bench`: the command's bench with peers on a short list, from the sources.
 * `npm run bench -- --suite resnet50 --threads 1`: the same command with other options.
 * `npm run bench -- kernels [...]`: one of the suites in this folder.
 */
import { fileURLToPath } from 'node:url';

const SUITES: Readonly<Record<string, () => Promise<{ main(args: readonly string[]): Promise<void> }>>> = {
  matmul: () => import('./matmul.bench.ts'),
  kernels: () => import('./kernels.bench.ts'),
  story: () => import('./story.bench.ts'),
  regret: () => import('./regret.ts'),
  integers: () => import('./integers.ts'),
  cold: () => import('./cold.ts'),
  memory: () => import('./memory.ts'),
  polite: () => import('./polite.ts'),
  apart: () => import('./apart.ts'),
  soak: () => import('./soak.ts'),
  limits: () => import('./limits.ts'),
};

const [first, ...rest] = process.argv.slice(2);
const suite = SUITES[first ?? ''];
if (suite) await (await suite()).main(rest);
else if (first === 'models') await command((await import('./models.ts')).modelArguments(rest));
else if (first === undefined || first.startsWith('-')) await command(process.argv.slice(2));
else {
  console.error(`There is no suite "${first}"; there are ${[...Object.keys(SUITES), 'models'].join(', ')}.`);
  console.error('Shape lists are given as --suite NAME: see `npm run bench -- --help`.');
  process.exitCode = 2;
}

/** Becomes the command itself: its bench starts child processes by the path in argv. */
async function command(args: readonly string[]): Promise<void> {
  const main = fileURLToPath(new URL('../src/cli/main.ts', import.meta.url));
  const given = args.length > 0 ? args : ['--suite', 'quick', '--peers'];
  process.argv.splice(1, process.argv.length, main, 'bench', ...given);
  await import('../src/cli/main.ts');
}
