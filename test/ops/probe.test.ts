/** The machine is measured once in a process, for the runtimes that have no wisdom about it. */
import test from 'tape';
import type { Host } from '../../src/backends/wasm/host.ts';
import { nodeHost } from '../../src/backends/wasm/host-node.ts';
import { createRuntimeWith } from '../../src/ops/runtime.ts';
import type { RuntimeOptions } from '../../src/ops/types.ts';
import { failure } from '../support/faulty.ts';

/** Makes a runtime and says what it knows, and how often its probe gave the event loop a turn: never, where there was none. */
async function made(options: RuntimeOptions = {}, onPause = () => {}) {
  let pauses = 0;
  const host: Host = {
    ...nodeHost,
    yieldToEvents: () => {
      pauses++;
      onPause();
      return nodeHost.yieldToEvents();
    },
  };
  const rt = await createRuntimeWith({ threads: 1, wisdom: false, ...options }, { host });
  const { machine } = rt.info;
  const settled = pauses;
  await rt.close();
  return { machine, pauses: settled };
}

test('runtimes without wisdom share what the first of them found out', async (t) => {
  const broken = failure(
    made({}, () => {
      throw new Error('no turn');
    }),
  );
  const first = await made();
  t.match(String(await broken), /no turn/, 'a probe that fails is heard of');
  t.ok(first.pauses > 0, `and does not fail who waited for it: ${first.pauses} pauses of its own`);
  const again = await made();
  t.equal(again.pauses, 0, 'a later runtime has none');
  t.deepEqual(again.machine, first.machine, 'and knows the same');

  const { pauses, machine } = await made({ threads: 2 });
  t.equal(pauses, 0, 'nor has one of more threads');
  t.ok(machine.wakeUs > 0, 'which takes its own time to wake them');
  t.deepEqual({ ...machine, wakeUs: 0 }, first.machine);
});

test('runtimes that begin at the same time have one probe', async (t) => {
  const both = await Promise.all([made({ numerics: 'exact' }), made({ numerics: 'exact' })]);
  t.equal(both.filter(({ pauses }) => pauses > 0).length, 1, 'exact mode has kernels of its own');
  t.deepEqual(both[0]!.machine, both[1]!.machine);
});
