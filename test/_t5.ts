import { createRuntime } from '../src/index.ts';
const rt = await createRuntime({threads:1});
const n=8; const a=rt.tensor(new Float32Array(n*n).map(Math.random),[n,n]),out=rt.zeros([n,n]); const o={out};
const t0=performance.now(); let c=0; while(performance.now()-t0<3000){ for(let i=0;i<1000;i++) await rt.matmul(a,a,o); c+=1000;} console.log("async",(3e6/c).toFixed(2),'us/call');
await rt.close();
