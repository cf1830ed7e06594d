/** What `doctor` warns of, as a pure function of what it found. */
import type { MachineReport, RuntimeInfo } from '../index.ts';
import type { Environment } from './environment.ts';

export interface Advice {
  /** A problem makes `doctor` fail; a note only says what could be better. */
  readonly level: 'problem' | 'note';
  readonly what: string;
  readonly todo: string;
}

export interface Quarantined {
  readonly kernel: string;
  readonly reason: string;
}

/** A wake-up beyond this eats a small product whole. */
const SLOW_WAKE_US = 200;

export function adviceFor(
  info: RuntimeInfo,
  machine: MachineReport,
  environment: Environment,
  quarantined: readonly Quarantined[],
): readonly Advice[] {
  return [
    ...quarantined.map(
      ({ kernel, reason }): Advice => ({
        level: 'problem',
        what: `kernel ${kernel} gave wrong answers here and is set aside: ${reason}`,
        todo: 'results stay right; please report it with the output of `tesserae doctor --json`',
      }),
    ),
    ...info.backends
      .filter(({ name, available }) => name === 'wasm' && !available)
      .map(
        ({ reason }): Advice => ({
          level: 'problem',
          what: `WebAssembly kernels are off: ${reason}`,
          todo: 'everything runs on the slow reference: use an engine with WebAssembly SIMD',
        }),
      ),
    ...featureAdvice(info),
    ...threadAdvice(info, environment),
    ...machineAdvice(machine, environment),
    ...ceilingAdvice(machine, info),
  ];
}

function featureAdvice({ features }: RuntimeInfo): readonly Advice[] {
  const todo = {
    simd: 'use Node 20 or newer on a CPU with SIMD',
    'relaxed-simd': 'update to Node 22 or newer, or allow it with --engine-flags (engineFlags: "allow")',
    revectorize: 'allow 256-bit vectors on Node 24 or newer, x86, with --engine-flags (engineFlags: "allow")',
    'shared-memory': 'in a browser, send COOP and COEP headers; until then there is one thread',
    threads: 'start with more threads, or give the container more than one core',
  } as const;
  return features
    .filter(({ on }) => !on)
    .map(
      ({ name, reason }): Advice => ({ level: 'note', what: `${name} is off: ${reason}`, todo: todo[name] }),
    );
}

function threadAdvice({ threads }: RuntimeInfo, { cores }: Environment): readonly Advice[] {
  if (threads.actual < threads.requested) {
    return [
      {
        level: 'note',
        what: `${threads.actual} of ${threads.requested} threads: ${threads.reason}`,
        todo: 'ask for no more than there are cores',
      },
    ];
  }
  if (threads.actual > cores) {
    return [
      {
        level: 'note',
        what: `${threads.actual} threads on ${cores} cores wait for each other`,
        todo: `use --threads ${cores}`,
      },
    ];
  }
  return [];
}

function machineAdvice(machine: MachineReport, { load, cores }: Environment): readonly Advice[] {
  const advice: Advice[] = [];
  if (load > cores / 4) {
    advice.push({
      level: 'note',
      what: `the machine is busy (load ${load.toFixed(1)} on ${cores} cores)`,
      todo: 'measure again when it is quiet',
    });
  }
  if (machine.wakeUs > SLOW_WAKE_US) {
    advice.push({
      level: 'note',
      what: `waking the team takes ${machine.wakeUs.toFixed(0)} µs`,
      todo: 'small products run on one thread; a busy or power-saving machine does that',
    });
  }
  return advice;
}

/** 256-bit vectors go beyond the ceiling by design; anything else that does says that the ceiling was disturbed. */
function ceilingAdvice(
  { peakGflops, kernelGflops }: MachineReport,
  { features }: RuntimeInfo,
): readonly Advice[] {
  const fastest = Math.max(0, ...Object.values(kernelGflops));
  const wide = features.some(({ name, on }) => name === 'revectorize' && on);
  if (wide || fastest <= 1.1 * peakGflops) return [];
  const what = `a kernel reached ${fastest.toFixed(1)} GFLOP/s, more than the ceiling of ${peakGflops.toFixed(1)}`;
  return [{ level: 'note', what, todo: 'something else ran while the ceiling was measured: measure again' }];
}
