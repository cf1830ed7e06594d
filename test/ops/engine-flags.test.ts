/** Engine flags are of the whole process: who comes after the first one has them as well. Only here, for nothing takes them back. */
import test from 'tape';
import { makeRuntime } from '../support/runtime.ts';

test('engine flags: later runtimes of a process are what the first one is', async (t) => {
  const first = await makeRuntime({ threads: 1, engineFlags: 'allow' });
  const second = await makeRuntime({ threads: 1, engineFlags: 'allow' });
  t.deepEqual(second.info.engineFlags, first.info.engineFlags, first.info.engineFlags.join(' ') || 'none');
  t.equal(second.info.wisdom.signature, first.info.wisdom.signature, 'one wisdom');
  await first.close();
  await second.close();
  t.end();
});

test('engine flags: what was set is no fallback for the strict', async (t) => {
  const make = () => makeRuntime({ threads: 1, engineFlags: 'allow', policy: 'strict' });
  const before = await makeRuntime({ threads: 1, engineFlags: 'allow' });
  if (before.info.engineFlags.length === 0) t.skip('this engine has no flag that helps');
  else {
    const strict = await make();
    t.ok(strict.info.engineFlags.length > 0);
    await strict.close();
  }
  await before.close();
  t.end();
});

test('engine flags: none for whoever did not allow them', async (t) => {
  const rt = await makeRuntime({ threads: 1 });
  t.deepEqual(rt.info.engineFlags, []);
  await rt.close();
  t.end();
});
