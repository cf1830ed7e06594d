/**
 * `npm run bench -- models [--crowd 1] [options]`: `tesserae bench --suite models --peers` from the sources, on the tests' models as well where
 * they are here. `--crowd` says how many other programs compute meanwhile.
 */
import { spawn } from 'node:child_process';
import { WHOLE_MODELS } from '../test/support/onnx.ts';

export function modelArguments(rest: readonly string[]): readonly string[] {
  const shared = WHOLE_MODELS.flatMap(({ from, file }) => (from === 'shared/data' && file ? [file] : []));
  return ['--suite', 'models', '--peers', '--models', ['packaged', ...shared].join(','), ...withCrowd(rest)];
}

/** The arguments without `--crowd`, whose programs end with this one. */
function withCrowd(args: readonly string[]): readonly string[] {
  const at = args.indexOf('--crowd');
  if (at < 0) return args;
  const count = Number(args[at + 1]);
  if (!Number.isInteger(count) || count < 1)
    throw new Error(`--crowd takes a number of programs, not ${args[at + 1]}`);
  const programs = Array.from({ length: count }, () =>
    spawn(
      process.execPath,
      [
        '-e',
        'process.on("disconnect", () => process.exit()); (function turn() { for (const end = Date.now() + 50; Date.now() < end; ); setImmediate(turn); })()',
      ],
      { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] },
    ),
  );
  for (const program of programs) {
    program.unref();
    program.channel?.unref();
  }
  return args.toSpliced(at, 2);
}
