/**
 * The library's inside for the suites that must run a plan of their choice, which the public API does not offer:
 * one core as `createRuntime` wires it, and any plan of a shape as a contestant of the race.
 */

import { WasmBackend } from '../src/backends/wasm/backend.ts';
import { loadModules } from '../src/backends/wasm/embedded.ts';
import { nodeHost } from '../src/backends/wasm/host-node.ts';
import { probeMachine } from '../src/backends/wasm/probe.ts';
import {
  type ConvOperands,
  type MatmulOperands,
  makeOperands,
  type Operands,
} from '../src/cli/bench/operands.ts';
import type { Peer } from '../src/cli/bench/types.ts';
import { printShape, type Shape } from '../src/cli/shapes/index.ts';
import { systemClock } from '../src/core/clock.ts';
import { KERNELS } from '../src/kernels/table.ts';
import { convFromShapes } from '../src/ops/conv.ts';
import { ConvWeights } from '../src/ops/conv-weights.ts';
import { Core } from '../src/ops/core.ts';
import { prepack } from '../src/ops/prepack.ts';
import { DenseTensor, Panels } from '../src/ops/tensor.ts';
import { type Plan, printPlan } from '../src/plan/plan.ts';
import { memoryStore } from '../src/plan/stores/memory.ts';
import { Wisdom } from '../src/plan/wisdom.ts';
import { readActivation } from '../src/problem/epilogue.ts';
import { matmulProblem } from '../src/problem/matmul.ts';
import { keyOf, type Problem, resultElements } from '../src/problem/problem.ts';
import type { Operands as Addresses } from '../src/schedule/operands.ts';

const MiB = 2 ** 20;

export interface CoreOptions {
  readonly threads: number;
  readonly engineFlags: boolean;
}

/** A core with wisdom of its own, empty, and the machine probed at some length. */
export async function openCore({ threads, engineFlags }: CoreOptions): Promise<Core> {
  if (engineFlags) nodeHost.setEngineFlags({ relaxedSimd: true });
  const onEvent = (event: { readonly type: string }) => {
    if (event.type !== 'planned') console.error(JSON.stringify(event));
  };
  const options = { initialMemory: 64 * MiB, maximumMemory: 4096 * MiB, workerTimeoutMs: 30_000 };
  const backend = new WasmBackend({
    host: nodeHost,
    modules: await loadModules(nodeHost),
    ...options,
    onEvent,
  });
  const kernels = KERNELS.filter(({ feature }) => feature === backend.feature).map(({ name }) => name);
  const machine = await probeMachine(
    backend,
    {
      ...{
        clock: systemClock,
        peakMs: 200,
        kernelMs: 800,
        readBytes: 128 * MiB,
        readMs: 200,
        kernels,
        wideVectors: engineFlags,
      },
      pause: () => nodeHost.yieldToEvents(),
    },
    { wakeUs: threads > 1 ? 40 : 0 },
  );
  const parts = {
    ...({
      host: nodeHost,
      backend,
      threads,
      exact: false,
      policy: 'auto',
      effort: 'estimate',
      onEvent,
    } as const),
    wisdom: new Wisdom(memoryStore(), 'bench'),
  };
  const core = new Core(parts, machine);
  if (threads > 1) await backend.team.whenReady(threads);
  return core;
}

/** A shape's operands in memory, for as many plans as one likes. */
export interface Stage {
  readonly shape: Shape;
  readonly problem: Problem;
  readonly key: string;
  /** Some plans read weights in a form of their own, which is made when first asked for. */
  addressesFor(plan: Plan): Addresses;
  readonly out: DenseTensor;
  dispose(): void;
}

function filled(core: Core, values: Float32Array, extents: readonly number[]): DenseTensor {
  const tensor = new DenseTensor(core.heap, extents);
  tensor.data.set(values);
  return tensor;
}

export function openStage(core: Core, shape: Shape, operands: Operands = makeOperands(shape)): Stage {
  if (operands.kind === 'conv') return openConv(core, operands);
  if (operands.kind === 'qmatmul')
    throw new Error(`${printShape(shape)}: integers are not benched from inside`);
  return openProduct(core, operands);
}

function openProduct(core: Core, operands: MatmulOperands): Stage {
  const { shape } = operands;
  const { batch = 1, m, k, n, transposeB = false } = shape;
  const a = filled(core, operands.a, [batch, m, k]);
  const b = filled(core, operands.b, batch === 1 ? (transposeB ? [n, k] : [k, n]) : [batch, k, n]);
  const bias = operands.bias && filled(core, operands.bias, [operands.bias.length]);
  const out = filled(core, new Float32Array(batch * m * n), [batch, m, n]);
  const packed = shape.prepacked ? prepack(core, b, { transposeB, m }) : undefined;
  const panels = packed instanceof Panels ? packed : undefined;
  const { kind: activation, p0, p1 } = readActivation(shape.activation);
  const problem = matmulProblem(
    { batch, m, n, k },
    {
      transposeB: transposeB && panels === undefined,
      bias: shape.bias ?? 'none',
      activation,
      panel: panels?.panel,
    },
  );
  const addresses: Addresses = {
    ...{ a: a.block.address, b: b.block.address, c: out.block.address, bias: bias?.block.address ?? 0 },
    ...{ slope: 0, alpha: 1, beta: 0, p0, p1, packedB: panels?.block.address },
  };
  const owned = [a, b, out, ...(bias ? [bias] : []), ...(panels ? [panels] : [])];
  const dispose = () => owned.forEach((one) => void one.dispose());
  return { shape, problem, key: keyOf(problem), addressesFor: () => addresses, out, dispose };
}

function openConv(core: Core, operands: ConvOperands): Stage {
  const { shape } = operands;
  const { batch, inC, inH, inW, outC, kH, kW, groups } = shape;
  const extents = [outC, inC / groups, kH, kW];
  const x = filled(core, operands.x, [batch, inC, inH, inW]);
  const w = new ConvWeights(core.heap, extents, undefined);
  core.heap.floats().set(operands.w, w.place() >> 2);
  w.done();
  const bias = operands.bias && filled(core, operands.bias, [outC]);
  const { kind: activation, p0, p1 } = readActivation(shape.activation);
  const traits = { bias: bias !== undefined, residual: false, activation, prepacked: true };
  const problem = convFromShapes(core, x.shape, extents, shape, traits);
  const out = filled(core, new Float32Array(resultElements(problem)), [
    batch,
    outC,
    problem.outH,
    problem.outW,
  ]);
  const raw = w.place();
  w.done();
  const addressesFor = (plan: Plan): Addresses => ({
    ...{ a: raw, b: x.block.address, c: out.block.address, bias: bias?.block.address ?? 0, slope: 0 },
    ...{ alpha: 1, beta: 1, p0, p1, packedA: w.formFor(core, problem, plan) },
  });
  const owned = [x, w, out, ...(bias ? [bias] : [])];
  const dispose = () => owned.forEach((one) => void one.dispose());
  return { shape, problem, key: keyOf(problem), addressesFor, out, dispose };
}

/**
 * One plan as a contestant, run as an awaited `rt.matmul` or `rt.conv2d` would run it; `ms` is what it is expected to take,
 * which decides whether it stays on the calling thread.
 */
export function planAsPeer(core: Core, stage: Stage, plan: Plan, ms: number): Peer {
  const { key, problem, out } = stage;
  const execution = { key, problem, plan, ms };
  const addresses = stage.addressesFor(plan);
  return {
    info: { id: printPlan(plan), version: '', threads: plan.threads, includes: '' },
    prepare: async () => ({
      run: () => core.executor.run(execution, addresses, {}),
      poison: () => void out.data.fill(Number.NaN),
      result: async () => out.data.slice(),
      dispose: () => undefined,
    }),
    dispose: async () => undefined,
  };
}
