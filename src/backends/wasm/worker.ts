/**
 * A thread, in Node and in browsers. One of a team never returns to an event loop: it sleeps on the team's signal, takes part in the
 * posted job, and sends one message when it was the one to finish a job, or when a kernel trapped.
 */
import { inNode, node } from '../../core/node.ts';
import { type Send, serve } from './apart/serve.ts';
import type { ApartMessage, WorkerMessage, WorkerStart } from './host.ts';
import {
  ARENA_ADDRESS,
  SCRATCH_ADDRESS,
  SCRATCH_BYTES,
  TEAM,
  TEAM_ADDRESS,
  WORKER,
  WORKER_BYTES,
  WORKERS_ADDRESS,
} from './layout.ts';
import { instantiate } from './module.ts';

/** Turns of the wait loop before sleeping: about 20 microseconds, so that a call right after another finds the team awake
 *  while an idle team costs nothing. */
const SPINS = 20_000;

function work({ modules, index }: WorkerStart, memory: WebAssembly.Memory, send: Send): void {
  const { exports } = instantiate(modules, memory);
  const own = WORKERS_ADDRESS + index * WORKER_BYTES;
  const scratch = SCRATCH_ADDRESS + index * SCRATCH_BYTES;
  /** The words below the arena, which never move; a view made once stays right while the memory grows. Jobs may lie beyond,
   *  in memory that this thread's `memory.buffer` does not show yet: only the kernels' side looks at them. */
  const words = new Int32Array(memory.buffer, 0, ARENA_ADDRESS / 4);
  const takePart = (job: number) => {
    try {
      const finished = exports.takePart(job, index, own, scratch);
      if (finished >= 0) send({ type: 'done', job: finished });
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      send({ type: 'fault', job: exports.failRecord(job), message });
    }
    // only now: who ends while BUSY is set may not have told what it had to tell
    Atomics.store(words, (own + WORKER.BUSY) >>> 2, 0);
  };
  send({ type: 'ready' });
  let seen = 0;
  for (;;) {
    seen = exports.awaitSignal(TEAM_ADDRESS, seen, SPINS);
    if (Atomics.load(words, (TEAM_ADDRESS + TEAM.QUIT) >>> 2)) break;
    takePart(Atomics.load(words, (TEAM_ADDRESS + TEAM.JOB) >>> 2));
  }
}

/** Works for a team until that ends, or returns what to do with messages. */
function begin(start: WorkerStart, send: Send): ((message: ApartMessage) => void) | undefined {
  const { memory } = start;
  if (memory instanceof WebAssembly.Memory) work(start, memory, send);
  else return serve(start, memory, send);
  return undefined;
}

if (inNode()) {
  const { parentPort, workerData } = node('node:worker_threads');
  const start = workerData as WorkerStart;
  // on Linux a process number of 0 is the calling thread alone (setpriority(2), "C library/kernel differences")
  if (start.nice > 0) node('node:os').setPriority(0, start.nice);
  const handle = begin(start, (message, transfer = []) => parentPort?.postMessage(message, transfer));
  if (handle) parentPort?.on('message', handle);
} else {
  // the worker's own, which TypeScript takes for a window's
  const post = globalThis.postMessage as (message: WorkerMessage, transfer: ArrayBuffer[]) => void;
  globalThis.onmessage = ({ data }: MessageEvent<WorkerStart>) => {
    const handle = begin(data, (message, transfer = []) => post(message, transfer));
    if (handle) globalThis.onmessage = (event: MessageEvent<ApartMessage>) => handle(event.data);
  };
}
