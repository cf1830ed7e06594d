/**
 * Several threads, one job: records are claimed from an atomic counter, and a record waits until all records of earlier
 * phases are done. There is no barrier to reach together: a thread that comes late, or never, costs nothing but speed,
 * because whatever a record waits for was claimed before it by a thread that is running.
 */
import {
  CLOSED,
  JOB_DONE, JOB_LIMIT, JOB_NEXT, JOB_PROGRAM, JOB_STOP, JOB_WAITERS,
  OP_PACK_A, OP_PACK_B, OP_TILE, OP_VECTOR,
  PROGRAM_BYTES, RECORD_BYTES, RECORD_NEEDS, RECORD_OP,
  TEAM_SIGNAL, WORKER_BEAT,
} from '../gen/layout';
import { packA, packB, tile, vector } from '../gemm/macro';

/** Turns of a spin before a thread sleeps: some microseconds, the length of a typical wait between phases. */
const SPIN = 2000;
/** A sleeper looks up at least this often (nanoseconds), in case the thread that it waits for was ended. */
const NAP: i64 = 20_000_000;

/** Waits until DONE reaches `needed`; false when the job was stopped. */
function waitFor(job: usize, needed: i32): bool {
  let spin = 0;
  while (true) {
    const done = atomic.load<i32>(job, JOB_DONE);
    if (done >= needed) return true;
    if (atomic.load<i32>(job, JOB_STOP)) return false;
    if (++spin < SPIN) continue;
    atomic.add<i32>(job, 1, JOB_WAITERS);
    atomic.wait<i32>(job + JOB_DONE, done, NAP);
    atomic.sub<i32>(job, 1, JOB_WAITERS);
  }
}

function execute(job: usize, program: usize, record: usize, scratch: usize): void {
  switch (load<i32>(record, RECORD_OP)) {
    case OP_PACK_A: packA(job, program, record); break;
    case OP_PACK_B: packB(job, program, record); break;
    case OP_TILE: tile(job, program, record, scratch); break;
    case OP_VECTOR: vector(job, program, record, scratch); break;
    default: unreachable();
  }
}

/**
 * Claims and executes records until none is left. `worker` is the address of the thread's own words, `scratch` its block
 * for edges. Returns 1 to the one thread that completed the job's last record, else 0.
 */
export function drain(job: usize, worker: usize, scratch: usize): i32 {
  let last = 0;
  while (true) {
    const index = atomic.add<i32>(job, 1, JOB_NEXT);
    if (index >= atomic.load<i32>(job, JOB_LIMIT)) return last;
    const program = load<usize>(job, JOB_PROGRAM);
    const record = program + PROGRAM_BYTES + index * RECORD_BYTES;
    if (waitFor(job, load<i32>(record, RECORD_NEEDS)) && !atomic.load<i32>(job, JOB_STOP)) execute(job, program, record, scratch);
    atomic.add<i32>(worker, 1, WORKER_BEAT);
    const done = atomic.add<i32>(job, 1, JOB_DONE) + 1;
    if (atomic.load<i32>(job, JOB_WAITERS)) atomic.notify(job + JOB_DONE, -1);
    if (done == atomic.load<i32>(job, JOB_LIMIT)) last = 1;
  }
}

/**
 * Stops a job: no record is claimed any more and those that wait are skipped. Returns how many records were claimed; the
 * job is at rest when DONE has reached that number.
 */
export function closeJob(job: usize, reason: i32): i32 {
  atomic.store<i32>(job, reason, JOB_STOP);
  const claimed = min(atomic.xchg<i32>(job, CLOSED, JOB_NEXT), atomic.load<i32>(job, JOB_LIMIT));
  atomic.store<i32>(job, claimed, JOB_LIMIT);
  atomic.notify(job + JOB_DONE, -1);
  return claimed;
}

/** For a blocking caller: spins, then sleeps until DONE reaches LIMIT or `nanoseconds` have gone by without a wake-up.
 *  Returns DONE. */
export function awaitJob(job: usize, spins: i32, nanoseconds: i64): i32 {
  let done = 0;
  for (let spin = 0; spin <= spins; spin++) {
    done = atomic.load<i32>(job, JOB_DONE);
    if (done >= atomic.load<i32>(job, JOB_LIMIT)) return done;
  }
  atomic.add<i32>(job, 1, JOB_WAITERS);
  atomic.wait<i32>(job + JOB_DONE, done, nanoseconds);
  atomic.sub<i32>(job, 1, JOB_WAITERS);
  return atomic.load<i32>(job, JOB_DONE);
}

/** For a worker: spins, then sleeps until the team's signal differs from `seen`. Returns the new signal. */
export function awaitSignal(team: usize, seen: i32, spins: i32): i32 {
  for (let spin = 0; spin < spins; spin++) {
    const signal = atomic.load<i32>(team, TEAM_SIGNAL);
    if (signal != seen) return signal;
  }
  while (atomic.load<i32>(team, TEAM_SIGNAL) == seen) atomic.wait<i32>(team + TEAM_SIGNAL, seen, -1);
  return atomic.load<i32>(team, TEAM_SIGNAL);
}
