/** Exit codes; documented in `--help` and docs/cli.md. Apart from errors.ts, which loads the library. */
export const EXIT = {
  ok: 0,
  /** Something failed, or (`compare`) something changed. */
  failed: 1,
  /** The command line or a file named on it makes no sense. */
  usage: 2,
  /** Ctrl-C: 128 + SIGINT, as shells have it. */
  interrupted: 130,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];
