/**
 * A worker that owns its memory: it does what it is sent, in order, and knows no more of it than addresses. What lies where is the sender's
 * business. It returns to its event loop between messages, so that it needs nothing that a page must be isolated for.
 */
import type { ApartMessage, WorkerMessage, WorkerStart } from '../host.ts';
import { MAX_WORKERS, SCRATCH_ADDRESS, SCRATCH_BYTES, WORKER_BYTES, WORKERS_ADDRESS } from '../layout.ts';
import { instantiate } from '../module.ts';
import { BufferPool } from './buffer-pool.ts';

export type Send = (message: WorkerMessage, transfer?: ArrayBuffer[]) => void;

/** The words and the scratch of the one thread that there is: those of a team's calling thread, whose own space comes first. */
const OWN = WORKERS_ADDRESS + (MAX_WORKERS - 1) * WORKER_BYTES;
const SCRATCH = SCRATCH_ADDRESS + (MAX_WORKERS - 1) * SCRATCH_BYTES;

/** What to do with each message. */
export function serve(
  { modules }: WorkerStart,
  extents: { readonly initial: number; readonly maximum: number },
  send: Send,
): (message: ApartMessage) => void {
  // the modules import a memory of this kind; it is this thread's alone all the same
  const memory = new WebAssembly.Memory({ ...extents, shared: true });
  const { exports } = instantiate(modules, memory);
  const run = (job: number, id: number) => {
    try {
      exports.drain(job, OWN, SCRATCH, 0);
      send({ type: 'done', job: id });
    } catch (error) {
      exports.failRecord(job);
      send({ type: 'fault', job: id, message: error instanceof Error ? error.message : String(error) });
    }
  };
  send({ type: 'ready' });
  const spent = new BufferPool();
  return (message) => {
    if (message.type === 'grow') memory.grow(message.pages);
    else if (message.type === 'write') {
      const { at, bytes, data } = message;
      new Uint8Array(memory.buffer).set(new Uint8Array(data, 0, bytes), at);
      spent.put(data);
    } else if (message.type === 'run') run(message.job, message.id);
    else {
      const { at, bytes, id } = message;
      const data = spent.take(bytes);
      new Uint8Array(data).set(new Uint8Array(memory.buffer, at, bytes));
      const others = spent.takeAll();
      send({ type: 'data', id, data, spent: others }, [data, ...others]);
    }
  };
}
