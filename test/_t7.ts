import { createRuntime } from '../src/index.ts';
const rt = await createRuntime({threads:1,wisdom:false});
for (const s of ['64x64x64','256x256x256','512x512x512','49x2048x512','196x512x512']) { const t=performance.now(); const [r]=await rt.tune([s],{budgetMs:1500}); console.log(s,r!.plan.kernel,r!.plan.packing,r!.plan.mc,r!.plan.kc,r!.plan.nc,r!.ms.toFixed(4),r!.estimateMs.toFixed(4),r!.measured,(performance.now()-t).toFixed(0)); }
await rt.close();
