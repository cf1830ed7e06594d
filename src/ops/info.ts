/** What a runtime says of itself: asked for, got, and why. */
import { version } from '../backends/wasm/gen/version.ts';
import type { EngineReport } from '../backends/wasm/host.ts';
import type { Core } from './core.ts';
import type { FeatureReport, RuntimeInfo } from './types.ts';

export { version };

export interface FeatureFacts {
  readonly relaxed: boolean;
  readonly flagsAsked: boolean;
  readonly flagsSet: readonly string[];
  readonly flagsReason: string;
  readonly engine: EngineReport;
  readonly noThreads: string | undefined;
}

const REVECTORIZE = '--experimental-wasm-revectorize';
const RELAXED = '--experimental-wasm-relaxed-simd';

/** Whether kernels may run on vectors wider than 128 bits. */
export function hasWideVectors({ flagsSet }: FeatureFacts): boolean {
  return flagsSet.includes(REVECTORIZE);
}

function relaxedReport({ relaxed, flagsSet, flagsAsked, engine }: FeatureFacts): FeatureReport {
  const name = 'relaxed-simd';
  if (relaxed)
    return {
      name,
      on: true,
      reason: flagsSet.includes(RELAXED) ? `by the V8 flag ${RELAXED}` : 'on by default in this engine',
    };
  const reason = flagsAsked
    ? 'the V8 flag had no effect'
    : `V8 ${engine.v8} has it behind a flag; engineFlags: 'allow' sets it`;
  return { name, on: false, reason };
}

function revectorizeReport({ flagsSet, flagsAsked, flagsReason, engine }: FeatureFacts): FeatureReport {
  const name = 'revectorize';
  if (flagsSet.includes(REVECTORIZE)) return { name, on: true, reason: `by the V8 flag ${REVECTORIZE}` };
  return {
    name,
    on: false,
    reason: flagsAsked
      ? flagsReason
      : engine.name === 'node'
        ? "needs V8 13 on x86-64 and engineFlags: 'allow'"
        : 'a V8 flag, which no page can set',
  };
}

/** How many threads there are, and how they come by what they work on. */
export function threadReport(
  { host, apart, threads }: Core,
  requested: number,
  isDefault: boolean,
): RuntimeInfo['threads'] {
  const why = host.noThreads;
  if (!apart) {
    const asked = isDefault ? 'one for each available core' : 'as asked';
    return { requested, actual: threads, memory: 'shared', reason: why ?? asked };
  }
  const { failed } = apart;
  if (failed === undefined)
    return {
      requested,
      actual: requested,
      memory: 'private',
      reason: `each has a memory of its own: ${why}`,
    };
  const reason = `${why}; of those with memories of their own none came up: ${failed}`;
  return { requested, actual: 1, memory: 'private', reason };
}

export function featureReports(facts: FeatureFacts): FeatureReport[] {
  return [
    { name: 'simd', on: true, reason: 'part of WebAssembly in every supported engine' },
    relaxedReport(facts),
    revectorizeReport(facts),
    { name: 'shared-memory', on: true, reason: 'the memory can be shared' },
    {
      name: 'threads',
      on: facts.noThreads === undefined,
      reason: facts.noThreads ?? 'worker threads share the memory',
    },
  ];
}
