/** Runs in a page and in its workers: threads of the page that join its runtime. Bundled by the browser tests. */
import {
  attachRuntime,
  createRuntime,
  type SharedRuntime,
  type SharedTensor,
  type Tensor,
} from '../../src/index.ts';
import { wholeProduct, wrong } from './products.ts';

export interface ShareReport {
  readonly fault: string | undefined;
  /** Tensors that are left some time after a thread was ended in the middle of its work. */
  readonly left: number;
}

interface Job {
  readonly handle: SharedRuntime;
  /** None: to compute until it is ended. */
  readonly job?: { readonly a: SharedTensor; readonly b: SharedTensor };
}

const product = wholeProduct(130, 64, 70);

async function guest({ handle, job }: Job): Promise<void> {
  const rt = await attachRuntime(handle);
  if (job) {
    const y = rt.matmulSync(rt.adopt(job.a), rt.adopt(job.b));
    postMessage(y.share());
    await rt.close();
    return;
  }
  const x = rt.tensor(product.a.data, product.a.shape);
  postMessage('begun');
  for (;;) await rt.matmul(x, product.b);
}

function answerOf<T>(worker: Worker): Promise<T> {
  return new Promise((resolve) => {
    worker.onmessage = ({ data }: MessageEvent<T>) => resolve(data);
  });
}

function start(message: Job): Worker {
  const worker = new Worker('/page.js');
  worker.postMessage(message, [message.handle.port]);
  return worker;
}

async function run(): Promise<ShareReport> {
  const rt = await createRuntime({ wisdom: false });
  const [a, b] = [product.a, product.b].map(({ data, shape }): Tensor => rt.tensor(data, shape)) as [
    Tensor,
    Tensor,
  ];
  const one = start({ handle: rt.share(), job: { a: a.share(), b: b.share() } });
  const fault = wrong(rt.adopt(await answerOf<SharedTensor>(one)), product);
  a.dispose();
  b.dispose();
  const two = start({ handle: rt.share() });
  await answerOf(two);
  two.terminate();
  for (let turn = 0; turn < 200 && rt.memory().tensors > 0; turn++)
    await new Promise((resolve) => setTimeout(resolve, 20));
  const { tensors: left } = rt.memory();
  await rt.close();
  return { fault, left };
}

const isPage = 'document' in globalThis;
if (isPage) (globalThis as { report?: Promise<unknown> }).report = run();
else globalThis.onmessage = ({ data }: MessageEvent<Job>) => void guest(data);
