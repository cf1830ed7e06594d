/** How a command is added to the program. */
import type { Command } from 'commander';
import type { Effort } from '../../index.ts';
import { UsageError } from '../errors.ts';
import type { ExitCode } from '../exit.ts';
import type { CommonOptions, Session } from '../session.ts';
import { suggestion } from '../suggest.ts';

/** Runs a command's work with its options, and remembers its exit code. */
export type Run = (options: CommonOptions, work: (session: Session) => Promise<ExitCode>) => Promise<void>;

export type Define = (program: Command, run: Run) => void;

export const EFFORTS: readonly Effort[] = ['estimate', 'measure', 'exhaustive'];

export function chooseEffort<T extends Effort>(word: string, allowed: readonly T[]): T {
  const effort = allowed.find((known) => known === word);
  if (effort === undefined) throw new UsageError(`there is no effort "${word}"`, suggestion(word, allowed));
  return effort;
}
