import { createRuntime } from '../src/index.ts';
const t0=performance.now();
const rt = await createRuntime({onEvent:e=>console.log(e), engineFlags: process.argv[2]==='flags'?'allow':'off'});
console.log('create', (performance.now()-t0).toFixed(1)); 
const m=rt.info.machine; console.log(rt.info.features.map(f=>f.name+':'+f.on+' '+f.reason).join('\n'), m.peakGflops, m.readGBs, m.readGBsAllThreads, m.wakeUs); console.log(Object.entries(m.kernelGflops).sort((a,b)=>b[1]-a[1]).slice(0,12).map(([k,v])=>k+' '+v).join('\n'));
const c = await rt.matmul(rt.tensor([1, 2, 3, 4], [2, 2]), rt.tensor([5, 6, 7, 8], [2, 2])); console.log(c.data);
for (const n of [256,2000]) { const a=rt.tensor(new Float32Array(n*n).map(Math.random),[n,n]); const t=performance.now(); const r=await rt.matmul(a,a,{onProgress:p=>n>1000&&console.log(p)}); console.log(n,(performance.now()-t).toFixed(1)); let s=0; for(let k=0;k<n;k++) s+=a.data[5*n+k]!*a.data[k*n+7]!; console.log(r.data[5*n+7], s);}
const e=rt.explain('512x512x512'); console.log(e.plan, e.candidates.length, e.candidates.slice(0,5).map(c=>c.plan.kernel+' '+c.estimateMs.toFixed(3)));
const tt=performance.now(); console.log((await rt.tune(['64x64x64','512x512x512','1x1024x1024','128x128x128'],{budgetMs:4000})).map(r=>[r.key,r.plan.kernel,r.plan.packing,r.plan.mc,r.plan.kc,r.plan.nc,r.plan.threads,r.ms.toFixed(4),r.estimateMs.toFixed(4),r.measured]), performance.now()-tt);
console.log(rt.memory());
if(process.argv[3]) {const mm=await rt.measureMachine(); console.log(mm.peakGflops,mm.readGBs,mm.readGBsAllThreads,mm.wakeUs);}
await rt.close(); console.log('closed');
