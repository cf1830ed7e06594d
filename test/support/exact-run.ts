/** Prints the hash of the exact calls: the exact test starts this under other compilers and flags of the same engine. */
import { exactHashes, hashOfAll } from './exact-calls.ts';
import { makeRuntime } from './runtime.ts';

const rt = await makeRuntime({ numerics: 'exact', threads: 2 }, 31);
console.log(`hash ${hashOfAll(await exactHashes(rt, true))}`);
await rt.close();
