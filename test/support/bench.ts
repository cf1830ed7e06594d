/**
 * Runs one problem with one plan on a backend, as badly as it can be treated: results, packing space and everything around
 * the operands are NaN beforehand, guard words stand on both sides of the result, and operands must come out unchanged.
 */
import type { Address, Backend, Call } from '../../src/backends/types.ts';
import { WasmBackend } from '../../src/backends/wasm/backend.ts';
import { nodeHost } from '../../src/backends/wasm/host-node.ts';
import { roundUp } from '../../src/core/math.ts';
import { findKernel } from '../../src/kernels/table.ts';
import type { Plan } from '../../src/plan/plan.ts';
import type { MatmulProblem } from '../../src/problem/matmul.ts';
import { lowerMatmul as lower, lowerPackB } from '../../src/schedule/lower/gemm.ts';
import { bitDifference } from './compare.ts';
import { compiled } from './faulty.ts';
import type { Values } from './problems.ts';

/** Elements before and behind the result; more than the widest block, so that a whole stray row would be seen. */
const GUARDS = 64;
/** Readable elements behind every block, which kernels may load and must not use. */
const SLACK = 32;
const GUARD = 1234.5;

export function makeWasmBackend(options: { timeoutMs?: number; initial?: number } = {}): WasmBackend {
  return new WasmBackend({
    host: nodeHost,
    modules: compiled(),
    initialMemory: options.initial ?? 16 * 1024 * 1024,
    maximumMemory: 1024 * 1024 * 1024,
    workerTimeoutMs: options.timeoutMs ?? 20_000,
    onEvent: () => undefined,
  });
}

export interface Run {
  readonly values: Float32Array;
  /** A stray write, or an operand that changed. */
  readonly fault: string | undefined;
}

interface Placed {
  readonly call: Call;
  finish(): Run;
}

/** A block with its operand at the front; beyond its end NaN, where the backend's blocks really are that long. */
function place(backend: Backend, values: Float32Array, held: Address[]): Address {
  const address = backend.allocate(4 * (values.length + SLACK), 'tensors');
  held.push(address);
  const view = backend.view(address, values.length + SLACK);
  view.fill(Number.NaN);
  view.set(values);
  return address;
}

function poisoned(backend: Backend, elements: number, held: Address[]): Address {
  if (elements === 0) return 0;
  const address = backend.allocate(4 * elements, 'scratch');
  held.push(address);
  backend.view(address, elements).fill(Number.NaN);
  return address;
}

function packPanels(backend: Backend, p: MatmulProblem, plan: Plan, b: Address, held: Address[]): Address {
  const { nr } = findKernel(plan.kernel)!;
  const packedB = poisoned(backend, p.k * roundUp(p.n, nr), held);
  const prepared = backend.prepare(lowerPackB({ ...p, prepackedB: false, panel: undefined }, plan));
  const zero = { a: 0, c: 0, c0: 0, bias: 0, slope: 0, packedA: 0, own: 0, alpha: 1, beta: 0, p0: 0, p1: 0 };
  backend.runSync(prepared, { ...zero, b, packedB }, 1);
  prepared.release();
  return packedB;
}

function placeAll(
  backend: Backend,
  p: MatmulProblem,
  plan: Plan,
  values: Values,
  program: ReturnType<typeof lower>,
): Placed {
  const held: Address[] = [];
  const count = p.batch * p.m * p.n;
  const a = place(backend, values.a, held);
  const b = place(backend, values.b, held);
  const bias = values.bias ? place(backend, values.bias, held) : 0;
  const slope = values.slope ? place(backend, values.slope, held) : 0;
  const offsetGuards = backend.name === 'wasm' ? GUARDS : 0;
  const block = backend.allocate(4 * (count + offsetGuards + GUARDS), 'tensors');
  held.push(block);
  const out = backend.view(block, count + offsetGuards + GUARDS).fill(GUARD);
  // without beta the result is never read: NaN would show if it were
  out.subarray(offsetGuards, offsetGuards + count).fill(Number.NaN);
  if (values.c0) out.set(values.c0, offsetGuards);
  const packedB = p.prepackedB
    ? packPanels(backend, p, plan, b, held)
    : poisoned(backend, program.packedBElements, held);
  const { alpha, beta, p0, p1 } = values;
  const call: Call = {
    a,
    b,
    bias,
    slope,
    own: 0,
    c: block + 4 * offsetGuards,
    c0: poisoned(backend, p.accumulate ? count : 0, held),
    packedA: poisoned(backend, program.packedAElements, held),
    packedB,
    alpha,
    beta,
    p0,
    p1,
  };
  const finish = (): Run => {
    const all = backend.view(block, count + offsetGuards + GUARDS).slice();
    const result = all.subarray(offsetGuards, offsetGuards + count);
    const guards = [...all.subarray(0, offsetGuards), ...all.subarray(offsetGuards + count)];
    const stray = guards.findIndex((word) => word !== GUARD);
    const changedA = bitDifference(backend.view(a, values.a.length), values.a);
    const changedB = bitDifference(backend.view(b, values.b.length), values.b);
    for (const address of held) backend.free(address);
    const fault =
      stray >= 0
        ? `guard word ${stray} (of ${offsetGuards} before and ${GUARDS} behind the result) was written`
        : changedA
          ? `a was changed: ${changedA}`
          : changedB && `b was changed: ${changedB}`;
    return { values: result, fault };
  };
  return { call, finish };
}

/** On the calling thread, with `plan.threads - 1` helpers. */
export function runSync(backend: Backend, p: MatmulProblem, plan: Plan, values: Values): Run {
  const program = lower(p, plan);
  const { call, finish } = placeAll(backend, p, plan, values, program);
  const prepared = backend.prepare(program);
  backend.runSync(prepared, call, plan.threads);
  prepared.release();
  return finish();
}

/** On other threads. */
export async function runAsync(backend: Backend, p: MatmulProblem, plan: Plan, values: Values): Promise<Run> {
  const program = lower(p, plan);
  const { call, finish } = placeAll(backend, p, plan, values, program);
  const prepared = backend.prepare(program);
  await backend.run(prepared, call, plan.threads).finished;
  prepared.release();
  return finish();
}
