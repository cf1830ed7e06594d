/** A fixed list of calls in exact mode, and the hash of all their bytes, in Node and in browsers. */
import { hashText } from '../../src/core/hash.ts';
import type { MatmulOptions, Runtime } from '../../src/ops/types.ts';
import { bytesHash } from './compare.ts';
import { array } from './oracle.ts';
import { Random } from './seed.ts';

/** Hash of all of it. A change means that results differ from what earlier versions and other engines give: found on Node 20.20 and
 *  Node 24 (x86-64), which agree. */
export const GOLDEN = '5cea491482648919399b4f81c9409ef9';

/** Not the tests' seed: the hash is a constant of the library, the same everywhere and always. */
const FIXED_SEED = 1;

const ACTIVATIONS = [
  'none',
  'relu',
  'gelu',
  'silu',
  'tanh',
  'sigmoid',
  { kind: 'clip', min: -1, max: 2.5 },
] as const;

/** Hash of every result, by what was asked. */
export async function exactHashes(rt: Runtime, sync: boolean): Promise<Map<string, string>> {
  const random = new Random(900, FIXED_SEED);
  const hashes = new Map<string, string>();
  const run = async (
    name: string,
    a: ReturnType<typeof array>,
    b: ReturnType<typeof array>,
    options: MatmulOptions = {},
  ) => {
    const got = sync ? rt.matmulSync(a, b, options) : await rt.matmul(a, b, options);
    hashes.set(name, bytesHash(got.data));
    const rightSize = b.shape.length === 2;
    got.dispose();
    if (!rightSize) return;
    const { transposeB = false, ...rest } = options;
    const packed = rt.prepack(b, { transposeB, m: 8 });
    const again = rt.matmulSync(a, packed, rest);
    hashes.set(`${name} prepacked`, bytesHash(again.data));
    again.dispose();
    packed.dispose();
  };
  for (const [m, n, k] of [
    [1, 1, 1],
    [7, 9, 5],
    [64, 64, 64],
    [65, 63, 300],
    [129, 77, 257],
    [1, 515, 301],
    [301, 1, 515],
    [33, 200, 1],
    [400, 401, 601],
  ] as const) {
    for (const transposeA of [false, true]) {
      for (const transposeB of [false, true]) {
        const a = array(random, transposeA ? [k, m] : [m, k]);
        const b = array(random, transposeB ? [n, k] : [k, n]);
        await run(`${m}x${k}x${n} ${transposeA}${transposeB}`, a, b, { transposeA, transposeB });
      }
    }
  }
  for (const activation of ACTIVATIONS) {
    const bias = array(random, [201], 4);
    await run(
      `activation ${JSON.stringify(activation)}`,
      array(random, [64, 30], 2),
      array(random, [30, 201]),
      { activation, bias, alpha: 0.7 },
    );
  }
  await run('batch', array(random, [3, 17, 40]), array(random, [3, 40, 19]), { activation: 'tanh' });
  await run('broadcast', array(random, [3, 1, 17, 40]), array(random, [2, 40, 19]), {
    bias: array(random, [17, 1]),
  });
  return hashes;
}

/** The hashes of all calls that read alike in name, with and without prepacking, in one. */
export function hashOfAll(hashes: ReadonlyMap<string, string>): string {
  return hashText([...hashes].map(([name, hash]) => `${name} ${hash}`).join('\n'));
}
