// tiny-call overhead
import { createRuntime } from '../src/index.ts';
const rt = await createRuntime({threads:+(process.argv[2]??1)});
for (const n of [4,8,16,32,64,128,256]) { const a=rt.tensor(new Float32Array(n*n).map(Math.random),[n,n]),out=rt.zeros([n,n]); const o={out};
 for (const mode of ['sync','async','noout','array']) { const arr={data:a.data.slice(),shape:[n,n]}; const run=mode==='sync'?async(it:number)=>{for(let i=0;i<it;i++) rt.matmulSync(a,a,o)}:mode==='async'?async(it:number)=>{for(let i=0;i<it;i++) await rt.matmul(a,a,o)}:mode==='noout'?async(it:number)=>{for(let i=0;i<it;i++) (await rt.matmul(a,a)).dispose()}:async(it:number)=>{for(let i=0;i<it;i++) (await rt.matmul(arr,arr)).dispose()};
 await run(3000); let b=1e9; for(let r=0;r<8;r++){const t=performance.now(); await run(n>100?50:1000); b=Math.min(b,(performance.now()-t)/(n>100?50:1000));} console.log(n,mode,(b*1e3).toFixed(2)+'us',(2*n**3/b/1e6).toFixed(1)+'GF',rt.explain(`${n}x${n}x${n}`).plan.kernel); } }
await rt.close();
