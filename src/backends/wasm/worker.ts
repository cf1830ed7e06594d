/**
 * A thread of the team, in Node and in browsers. It never returns to an event loop: it sleeps on the team's signal, takes part in the
 * posted job, and sends one message when it was the one to finish a job, or when a kernel trapped.
 */
import { inNode, node } from '../../core/node.ts';
import type { WorkerMessage, WorkerStart } from './host.ts';
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

type Send = (message: WorkerMessage) => void;

function work({ modules, memory, index }: WorkerStart, send: Send): void {
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
    Atomics.store(words, (own + WORKER.BUSY) >> 2, 0);
  };
  send({ type: 'ready' });
  let seen = 0;
  for (;;) {
    seen = exports.awaitSignal(TEAM_ADDRESS, seen, SPINS);
    if (Atomics.load(words, (TEAM_ADDRESS + TEAM.QUIT) >> 2)) break;
    takePart(Atomics.load(words, (TEAM_ADDRESS + TEAM.JOB) >> 2));
  }
}

if (inNode()) {
  const { parentPort, workerData } = node('node:worker_threads');
  const start = workerData as WorkerStart;
  // on Linux a process number of 0 is the calling thread alone (setpriority(2), "C library/kernel differences")
  if (start.nice > 0) node('node:os').setPriority(0, start.nice);
  work(start, (message) => parentPort?.postMessage(message));
} else {
  globalThis.onmessage = ({ data }: MessageEvent<WorkerStart>) =>
    work(data, (message) => globalThis.postMessage(message));
}
