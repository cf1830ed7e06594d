/** The `tesserae` command. Also starts the processes that its bench needs; those load nothing of the program. */
import { COLD_ARGUMENT } from './bench/cold.ts';
import { MODEL_ARGUMENT } from './bench/models/argument.ts';
import { PEER_ARGUMENT } from './bench/remote.ts';
import { EXIT } from './exit.ts';
import type { Host } from './host.ts';
import { EYE_ARGUMENT } from './video/argument.ts';

async function main(): Promise<void> {
  const [first, second = ''] = process.argv.slice(2);
  if (first === PEER_ARGUMENT) return (await import('./bench/peer-host.ts')).hostPeer();
  if (first === MODEL_ARGUMENT) return (await import('./bench/models/host.ts')).hostModels();
  if (first === EYE_ARGUMENT) return (await import('./video/eyes.ts')).runEye();
  if (first === COLD_ARGUMENT) return (await import('./bench/cold-child.ts')).runColdChild(second);
  const [{ runProgram }, { createRuntime }] = await Promise.all([
    import('./program.ts'),
    import('../index.ts'),
  ]);
  process.exitCode = await runProgram(process.argv.slice(2), {
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    stdoutIsTTY: process.stdout.isTTY === true,
    stderrIsTTY: process.stderr.isTTY === true,
    input: process.stdin,
    cwd: process.cwd(),
    signal: interruptSignal(),
    createRuntime,
  } satisfies Host);
}

/** The first Ctrl-C asks everything to end in order; the second one does not ask. */
function interruptSignal(): AbortSignal {
  const controller = new AbortController();
  process.once('SIGINT', () => {
    controller.abort();
    process.once('SIGINT', () => process.exit(EXIT.interrupted));
  });
  return controller.signal;
}

// `tesserae ... | head` closes the pipe early: that is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
});

await main();
