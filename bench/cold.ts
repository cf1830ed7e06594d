/**
 * Import to first result, in fresh processes, of the built package beside its peers: the command's `cold` suite.
 *
 *     npm run build && npm run bench -- cold [options of `tesserae bench`]
 */
import { fileURLToPath } from 'node:url';

export async function main(args: readonly string[]): Promise<void> {
  const command = fileURLToPath(new URL('../src/cli/main.ts', import.meta.url));
  process.argv.splice(1, process.argv.length, command, 'bench', '--suite', 'cold', '--peers', ...args);
  await import('../src/cli/main.ts');
}
