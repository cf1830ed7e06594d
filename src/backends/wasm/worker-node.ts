/**
 * A thread of the team. It never returns to an event loop: it sleeps on the team's signal, takes part in the posted job,
 * and sends one message when it was the one to finish a job, or when a kernel trapped.
 */
import { parentPort, workerData } from 'node:worker_threads';
import type { WorkerMessage, WorkerStart } from './host.ts';
import { JOB, SCRATCH_ADDRESS, SCRATCH_BYTES, TEAM, TEAM_ADDRESS, WORKER, WORKER_BYTES, WORKERS_ADDRESS } from './layout.ts';
import { instantiate } from './module.ts';

/** Turns of the wait loop before sleeping: about 20 microseconds, so that a call right after another finds the team awake
 *  while an idle team costs nothing. */
const SPINS = 20_000;
const STOP_FAULT = 2;

const { module, memory, index } = workerData as WorkerStart;
const { exports } = instantiate(module, memory);
const own = WORKERS_ADDRESS + index * WORKER_BYTES;
const scratch = SCRATCH_ADDRESS + index * SCRATCH_BYTES;
const send = (message: WorkerMessage) => parentPort?.postMessage(message);

/** The words below the arena, which never move; a view made once stays right while the memory grows. */
const words = new Int32Array(memory.buffer, 0, 65536 / 4);
/** Jobs may lie anywhere: a fresh view sees memory that was added since. */
const jobWords = () => new Int32Array(memory.buffer);

const idOf = (job: number) => Atomics.load(jobWords(), (job + JOB.ID) >> 2);

function takePart(job: number): void {
  Atomics.store(words, (own + WORKER.BUSY) >> 2, job);
  try {
    if (exports.drain(job, own, scratch)) send({ type: 'done', job: idOf(job) });
  } catch (error) {
    const id = idOf(job);
    exports.closeJob(job, STOP_FAULT);
    // the record that trapped counts as finished, so that the job can come to rest
    Atomics.add(jobWords(), (job + JOB.DONE) >> 2, 1);
    Atomics.notify(jobWords(), (job + JOB.DONE) >> 2);
    send({ type: 'fault', job: id, message: error instanceof Error ? error.message : String(error) });
  }
  Atomics.store(words, (own + WORKER.BUSY) >> 2, 0);
}

send({ type: 'ready' });
let seen = 0;
for (;;) {
  seen = exports.awaitSignal(TEAM_ADDRESS, seen, SPINS);
  if (Atomics.load(words, (TEAM_ADDRESS + TEAM.QUIT) >> 2)) break;
  const job = Atomics.load(words, (TEAM_ADDRESS + TEAM.JOB) >> 2);
  if (index < Atomics.load(jobWords(), (job + JOB.HELPERS) >> 2)) takePart(job);
}
