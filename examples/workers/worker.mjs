// A worker thread that uses the runtime of its parent: the same memory, the same threads, no copies.
import { parentPort } from 'node:worker_threads';
import { attachRuntime } from 'tesserae';

// a promise, for the first job may come while the runtime is still being attached
let attached;

parentPort.on('message', async ({ handle, job }) => {
  if (handle) attached = attachRuntime(handle);
  if (!job) return;
  const rt = await attached;
  const x = rt.adopt(job.x);
  const weights = rt.adopt(job.weights);
  // blocking is fine here: it is this thread that sleeps, not the parent's
  const y = rt.matmulSync(x, weights, { activation: 'relu' });
  parentPort.postMessage(y.share());
  for (const tensor of [x, weights, y]) tensor.dispose();
});
