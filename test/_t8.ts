import { createRuntime } from '../src/index.ts';
const rt = await createRuntime({threads:1,wisdom:false});
const m=await rt.measureMachine(); console.log(m.peakGflops,m.readGBs);
const [r]=await rt.tune(['1x4096x4096'],{budgetMs:3000}); console.log(r!.plan.kernel,r!.plan.nc, (4*4096*4096/r!.ms/1e6).toFixed(1),'GB/s', r!.estimateMs/r!.ms);
const e=rt.explain('1x4096x4096'); for (const c of e.candidates.slice(0,12)) console.log(c.plan.kernel,c.plan.packing,c.plan.nc,c.estimateMs.toFixed(3),c.measuredMs?.toFixed(3));
for (const tb of [false,true]) { const w=rt.tensor(new Float32Array(4096*4096).fill(.5),[4096,4096]); const p=rt.prepack(w,{transposeB:tb}); const x=rt.tensor(new Float32Array(4096).fill(.5),[1,4096]); const o=rt.zeros([1,4096]); for (const [n,b] of [['pre',p],['plain',w]] as any) { for(let i=0;i<20;i++) rt.matmulSync(x,b,{out:o,transposeB:n==='plain'&&tb}); let best=1e9; for(let i=0;i<30;i++){const t=performance.now(); rt.matmulSync(x,b,{out:o,transposeB:n==='plain'&&tb}); best=Math.min(best,performance.now()-t);} console.log(n,tb,(4*4096*4096/best/1e6).toFixed(1),'GB/s'); } }
await rt.close();
