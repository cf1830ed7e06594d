// The same as worker.mjs, as a task of piscina (or tinypool).
import { attachRuntime } from 'tesserae';

export default async function task({ handle, job }) {
  // a thread joins with the first handle that it gets, and has that runtime from then on
  const rt = await attachRuntime(handle);
  const x = rt.adopt(job.x);
  const weights = rt.adopt(job.weights);
  const y = await rt.matmul(x, weights, { activation: 'relu' });
  const result = y.share();
  for (const tensor of [x, weights, y]) tensor.dispose();
  return result;
}
