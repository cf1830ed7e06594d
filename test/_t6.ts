import { openCore } from '../bench/core.ts';
import { fillRandom } from '../src/core/random.ts';
import { readSpec } from '../src/ops/spec.ts';
import { diverse } from '../src/tune/tune.ts';
import { matmulKey } from '../src/problem/matmul.ts';
const core = await openCore({threads:1, engineFlags: process.argv[2]==='flags'});
console.log('peak',core.machine.peakGflops,'read',core.machine.readGBs);
for (const spec of (process.argv[3]??'16x16x16,32x32x32,64x64x64,100x100x100,128x128x128,256x256x256,512x512x512,8x768x768,64x768x3072,196x512x512,3136x64x256,12544x27x32,49x2048x512').split(',')) {
  const p=readSpec(core,spec); const cands=diverse(core.planner.candidates(p),60,2);
  const take=(c:number,s:number)=>{const a=core.backend.allocate(4*c,'scratch'); fillRandom(core.backend.view(a,c),s); return a;};
  const A=take(p.m*p.k,1),B=take(p.k*p.n,2),C=take(p.m*p.n,3);
  const ops={a:A,b:B,c:C,bias:0,packedB:undefined,alpha:1,beta:0,clipMin:0,clipMax:0}; const key=matmulKey(p);
  const rows=cands.map(c=>({c,best:1e9,ex:{key,problem:p,plan:c.plan,ms:0}}));
  for(const r of rows){const t=performance.now(); do core.executor.runSync(r.ex,ops); while(performance.now()-t<25);}
  await new Promise(r=>setTimeout(r,100));
  for(let q=0;q<12;q++) for(const r of rows){const it=Math.max(1,Math.round(0.3/r.c.estimateMs)); const t=performance.now(); for(let i=0;i<it;i++) core.executor.runSync(r.ex,ops); r.best=Math.min(r.best,(performance.now()-t)/it);}
  const best=[...rows].sort((a,b)=>a.best-b.best);
  console.log(spec,'regret of estimate',((rows[0]!.best/best[0]!.best-1)*100).toFixed(1)+'%', 'GF',(2*p.m*p.n*p.k/best[0]!.best/1e6).toFixed(1));
  for(const r of best.slice(0,5)) console.log('   best',r.c.plan.kernel,r.c.plan.packing,r.c.plan.mc,r.c.plan.kc,r.c.plan.nc,(r.best*1e3).toFixed(1),'est',(r.c.estimateMs*1e3).toFixed(1),(r.c.estimateMs/r.best).toFixed(2));
  for(const r of rows.slice(0,3)) console.log('   est ',r.c.plan.kernel,r.c.plan.packing,r.c.plan.mc,r.c.plan.kc,r.c.plan.nc,(r.best*1e3).toFixed(1),'est',(r.c.estimateMs*1e3).toFixed(1),(r.c.estimateMs/r.best).toFixed(2));
  for(const a of [A,B,C]) core.backend.free(a);
}
await core.close();
