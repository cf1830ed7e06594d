/** What the command needs of the world around it, as parameters: the tests pass their own. */
import type { Readable } from 'node:stream';
import type { createRuntime } from '../index.ts';

export interface Host {
  /** Results, and nothing else, go here. */
  out(text: string): void;
  /** Progress, warnings and errors go here. */
  err(text: string): void;
  /** Standard input, for commands that read it. */
  readonly input: Readable;
  readonly stdoutIsTTY: boolean;
  readonly stderrIsTTY: boolean;
  /** Where files and the user's installed packages are looked for. */
  readonly cwd: string;
  /** Fires at Ctrl-C. */
  readonly signal: AbortSignal;
  readonly createRuntime: typeof createRuntime;
}
