import { openCore } from '../bench/core.ts';
import { readSpec } from '../src/ops/spec.ts';
import { WIDE } from '../src/plan/candidates.ts';
const core = await openCore({threads:1, engineFlags: false});
for (const s of ['1009x1009x1009','64x64x64','512x512x512','49x2048x512','1x4096x4096']) console.log(s, core.planner.candidates(readSpec(core as any,s),WIDE).length);
await core.close();
