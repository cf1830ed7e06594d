/** What a runtime may take of the machine: checked, applied, and told with what this machine cannot do. */
import type { Host } from '../backends/wasm/host.ts';
import type { Team } from '../backends/wasm/team.ts';
import type { Budget, Pacer } from '../schedule/pacer.ts';
import { badArgument, checkFlag, checkOptions } from './arguments.ts';
import type { BudgetOptions, BudgetReport } from './types.ts';

const OPTIONS: ReadonlySet<string> = new Set(['threads', 'dutyCycle', 'pauseOnBattery', 'nice']);
/** The politest that POSIX knows. */
const MOST_NICE = 19;

/** Of a runtime, what a budget binds. */
export interface BudgetParts {
  readonly threads: number;
  readonly host: Host;
  readonly pacer: Pacer;
  readonly team: Team;
  /** Binds whoever computes to so many threads. */
  readonly limit: (threads: number) => void;
}

/** The budget of one runtime. Without a word everything is allowed. */
export class BudgetKeeper {
  readonly #parts: BudgetParts;
  #budget: Budget;
  #stopWatching: (() => void) | undefined;
  #knowsPower = false;

  constructor(parts: BudgetParts) {
    this.#parts = parts;
    this.#budget = { threads: parts.threads, dutyCycle: 1, pauseOnBattery: false, nice: 0 };
  }

  get report(): BudgetReport {
    const { host, pacer } = this.#parts;
    const { nice, pauseOnBattery } = this.#budget;
    const missing: string[] = [];
    if (nice > 0 && host.noNice !== undefined) missing.push(`nice: ${host.noNice}`);
    if (pauseOnBattery && !this.#knowsPower)
      missing.push('pauseOnBattery: the power supply is not known here');
    return { ...this.#budget, paused: pacer.pauses, missing };
  }

  /** Changes what is named; the rest stays. */
  set(options: BudgetOptions): BudgetReport {
    const { threads, host, pacer, team, limit } = this.#parts;
    const before = this.#budget;
    const budget = { ...before, ...readBudget(options, threads) };
    this.#budget = budget;
    if (budget.threads !== before.threads) limit(budget.threads);
    if (budget.nice !== before.nice && host.noNice === undefined) void team.renice(budget.nice);
    if (budget.dutyCycle !== before.dutyCycle) pacer.setDuty(budget.dutyCycle);
    if (budget.pauseOnBattery !== before.pauseOnBattery) this.#watchPower(budget.pauseOnBattery);
    return this.report;
  }

  close(): void {
    this.#watchPower(false);
  }

  #watchPower(on: boolean): void {
    const { host, pacer } = this.#parts;
    this.#stopWatching?.();
    this.#stopWatching = on
      ? host.watchPower((onBattery) => (onBattery ? pacer.pause('battery') : pacer.resume('battery')))
      : undefined;
    this.#knowsPower = this.#stopWatching !== undefined;
    if (!on) pacer.resume('battery');
  }
}

/** What is named, checked; all or nothing. */
function readBudget(options: BudgetOptions, most: number): Partial<Budget> {
  checkOptions(options, OPTIONS);
  const { threads, dutyCycle, pauseOnBattery, nice } = options;
  if (threads !== undefined && !(Number.isSafeInteger(threads) && threads >= 1 && threads <= most))
    throw badArgument('threads', threads, `A whole number from 1 to ${most}, the threads of this runtime.`);
  if (dutyCycle !== undefined && !(typeof dutyCycle === 'number' && dutyCycle > 0 && dutyCycle <= 1))
    throw badArgument('dutyCycle', dutyCycle, 'A number above 0, up to 1.');
  if (nice !== undefined && !(Number.isSafeInteger(nice) && nice >= 0 && nice <= MOST_NICE))
    throw badArgument('nice', nice, `A whole number from 0 to ${MOST_NICE}.`);
  return {
    ...(threads === undefined ? {} : { threads }),
    ...(dutyCycle === undefined ? {} : { dutyCycle }),
    ...(pauseOnBattery === undefined ? {} : { pauseOnBattery: checkFlag(pauseOnBattery, 'pauseOnBattery') }),
    ...(nice === undefined ? {} : { nice }),
  };
}
