/** A progress bar on stderr: only on a terminal, and only for what takes longer than a second. */
import { type Options, Presets, SingleBar } from 'cli-progress';
import type { Host } from './host.ts';

const PATIENCE_MS = 1000;

export class ProgressBar {
  readonly #enabled: boolean;
  readonly #label: string;
  readonly #started = performance.now();
  #bar: SingleBar | undefined;

  constructor(host: Pick<Host, 'stderrIsTTY'>, label: string, { quiet = false } = {}) {
    this.#enabled = host.stderrIsTTY && !quiet;
    this.#label = label;
  }

  update(done: number, total: number, note = ''): void {
    if (!this.#enabled || performance.now() - this.#started < PATIENCE_MS) return;
    if (!this.#bar) {
      const options: Options = {
        format: `${this.#label} [{bar}] {percentage} % {note}`,
        stream: process.stderr,
        clearOnComplete: true,
        hideCursor: true,
        barsize: 24,
      };
      this.#bar = new SingleBar(options, Presets.legacy);
      this.#bar.start(total, done, { note });
    }
    this.#bar.setTotal(total);
    this.#bar.update(done, { note });
  }

  /** Removes the bar; harmless if it never showed. */
  stop(): void {
    this.#bar?.stop();
    this.#bar = undefined;
  }
}
