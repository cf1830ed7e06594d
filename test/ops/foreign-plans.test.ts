/**
 * Wisdom comes from files that anybody may have written: a plan that is well signed but does not fit its problem must not
 * be run. The result is right whatever was imported.
 */

import test from 'tape';
import type { Plan } from '../../src/plan/plan.ts';
import { Wisdom } from '../../src/plan/wisdom.ts';
import { PLAN } from '../support/executions.ts';
import { answerFault, array, oracle } from '../support/oracle.ts';
import { makeRuntime } from '../support/runtime.ts';
import { Random, seeded } from '../support/seed.ts';

const PACKED: Plan = { ...PLAN, backend: 'wasm', threads: 1 };
const DIRECT: Plan = { ...PACKED, kernel: 'f32_gemm_4x8__simd_direct', packing: 'b' };

const PLANS: readonly (readonly [string, Plan])[] = [
  ['one that fits', PACKED],
  ['another that fits', DIRECT],
  ['mc is no multiple of mr', { ...PACKED, mc: 7 }],
  ['nc is no multiple of nr', { ...PACKED, nc: 13 }],
  ['a direct kernel with A packed', { ...DIRECT, packing: 'ab' }],
  ['a packed kernel with nothing packed', { ...PACKED, packing: 'none' }],
  ['a packed kernel with A in place', { ...PACKED, packing: 'b' }],
  ['B in place', { ...DIRECT, packing: 'none' }],
  ['another backend', { ...PACKED, backend: 'null' }],
];

test(seeded('imported plans that do not fit do no harm'), async (t) => {
  const rt = await makeRuntime({ threads: 1 });
  const random = new Random(950);
  const text = (key: string, plan: Plan) => {
    const wisdom = new Wisdom(undefined, rt.info.wisdom.signature);
    wisdom.put(key, { plan, effort: 'exhaustive', ms: 0.01, at: Date.now() });
    return wisdom.export();
  };
  const [m, k, n] = [29, 41, 37];
  for (const transposeB of [false, true]) {
    const a = array(random, [m, k]);
    const b = array(random, transposeB ? [n, k] : [k, n]);
    const packed = rt.prepack(b, { transposeB });
    for (const [name, plan] of PLANS) {
      const key = `matmul f32 ${m}x${k}x${n} n${transposeB ? 't' : 'n'}`;
      for (const [kind, ask] of [
        [key, () => rt.matmulSync(a, b, { transposeB })],
        // panels are 16 wide and hold all of k: neither width nor kc of these plans is theirs
        [`matmul f32 ${m}x${k}x${n} nn prepacked=16.44`, () => rt.matmulSync(a, packed)],
      ] as const) {
        rt.wisdom.clear();
        try {
          rt.wisdom.import(
            text(kind, kind === key ? plan : { ...plan, kernel: plan.kernel.replace('4x8', '2x16') }),
          );
        } catch {
          // refusing it is as good
        }
        let fault: string | undefined;
        try {
          fault = answerFault(oracle({ a, b, transposeB }), ask());
        } catch (error) {
          fault = String(error);
        }
        t.equal(fault, undefined, `${kind}: ${name}`);
      }
    }
  }
  await rt.close();
  t.end();
});
