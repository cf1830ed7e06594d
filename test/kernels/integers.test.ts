/** Kernels on words of integers: each passes its check on this engine, and a broken one does not. */
import test from 'tape';
import { WasmBackend } from '../../src/backends/wasm/backend.ts';
import { checkKernel } from '../../src/backends/wasm/check.ts';
import { nodeHost } from '../../src/backends/wasm/host-node.ts';
import { QUANTIZED_KERNELS } from '../../src/kernels/quantized.ts';
import { compiled, faultyBytes } from '../support/faulty.ts';
import { seeded } from '../support/seed.ts';

/** WebAssembly's `return` and `unreachable`: a kernel that does nothing, and one that traps. */
const RETURN = 0x0f;
const UNREACHABLE = 0x00;

function makeBackend(bytes?: readonly Uint8Array<ArrayBuffer>[]): WasmBackend {
  return new WasmBackend({
    host: nodeHost,
    initialMemory: 4 * 65536,
    maximumMemory: 256 * 65536,
    workerTimeoutMs: 30_000,
    onEvent: () => undefined,
    modules: compiled(bytes),
  });
}

test(seeded('integer kernels: each passes its check, to the last bit'), async (t) => {
  const backend = makeBackend();
  // 8-bit rows are in the module with relaxed SIMD only
  const present = QUANTIZED_KERNELS.filter(({ name, dtype }) => dtype === 'i16' || backend.kernels.has(name));
  const faults = present.map(({ name }) => [name, checkKernel(backend, name)] as const);
  t.deepEqual(
    faults.filter(([, fault]) => fault !== undefined),
    [],
    `${faults.length} kernels`,
  );
  await backend.close();
});

test(seeded('integer kernels: the check finds those that do nothing, and those that trap'), async (t) => {
  for (const code of [RETURN, UNREACHABLE]) {
    const backend = makeBackend(faultyBytes([code]));
    const passed = QUANTIZED_KERNELS.filter(({ name }) => checkKernel(backend, name) === undefined);
    t.deepEqual(
      passed.map(({ name }) => name),
      [],
      code === RETURN ? 'does nothing' : 'traps',
    );
    await backend.close();
  }
});
