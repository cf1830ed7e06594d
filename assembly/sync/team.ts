/**
 * Several threads, one job: records are claimed from an atomic counter, and a record waits until all records of earlier
 * phases are done. There is no barrier to reach together: a thread that comes late, or never, costs nothing but speed,
 * because whatever a record waits for was claimed before it by a thread that is running.
 *
 * A job's words are used again for later jobs, while a late thread may still look at them. So the claim itself must say
 * whether it is good: NEXT counts from CLOSED - LIMIT up to CLOSED, and a claim below CLOSED belongs to the job that the
 * words describe now, which cannot come to rest (DONE = LIMIT) before that record is counted. Nothing else may be read
 * from the words without such a claim.
 */
import {
  CLAIM_BYTES, CLOSED,
  JOB_CLAIMS, JOB_DONE, JOB_HELPERS, JOB_ID, JOB_LIMIT, JOB_LINKS, JOB_NEXT, JOB_PARTS, JOB_PROGRAM, JOB_STOP, JOB_WAITERS,
  LINK_BYTES, LINK_COUNT, LINK_JOB, LINK_NEEDS, LINK_RECORD,
  OP_DEPTHWISE, OP_FILTERS_BY_TAP, OP_FOLD, OP_LINES, OP_MAP, OP_MOVE, OP_OFFSET_TILE, OP_PACK_A, OP_PACK_B, OP_PACK_BYTES, OP_PACK_FILTERS, OP_PAD, OP_PATCH_TILE, OP_POOL,
  OP_SEGMENT_TILE, OP_STRASSEN_FILTERS, OP_STRASSEN_TILE, OP_TAKE, OP_TAP_FILTERS, OP_TILE, OP_VECTOR, OP_WINOGRAD_INPUT, OP_WINOGRAD_SLICE, OP_WINOGRAD_TILE, OP_WINOGRAD_WEIGHTS,
  OP_INTEGER_DEPTHWISE, OP_INTEGER_VECTOR, OP_WIDEN_COLUMNS, OP_WIDEN_FILTERS_A, OP_WIDEN_FILTERS_B, OP_WIDEN_PIXELS, OP_WIDEN_PLANES, OP_WIDEN_ROWS_A, OP_WIDEN_ROWS_B,
  PROGRAM_BYTES, RECORD_BYTES, RECORD_NEEDS, RECORD_OP,
  JOB_TRACE, TRACE_BYTES, TRACE_END, TRACE_START, TRACE_THREAD,
  MAX_WORKERS, TEAM_ADDRESS, TEAM_CORES, TEAM_SIGNAL, WORKER_BEAT, WORKER_BUSY, WORKER_BYTES, WORKERS_ADDRESS,
} from '../gen/layout';
import { depthwise, filtersByTap, pool } from '../conv/channelwise';
import { fold, tapFilters } from '../conv/fold';
import { strassenFilters, strassenTile } from '../conv/strassen';
import { offsetTile, packFilters, pad, patchTile, segmentTile } from '../conv/tiles';
import { winogradPanels, winogradSlice, winogradTile, winogradTransform } from '../conv/winograd_steps';
import { lines } from '../elementwise/lines';
import { map } from '../elementwise/map';
import { move, take } from '../elementwise/move';
import { packA, packB, tile, vector } from '../gemm/macro';
import { packBytes } from '../quantized/bytes';
import { integerDepthwise } from '../quantized/depthwise';
import { integerVector } from '../quantized/vector';
import { widenColumns, widenFilters, widenPixels, widenPlanes, widenRows } from '../quantized/widen';

/** Turns of a spin before a thread sleeps: some microseconds, the length of a typical wait between phases. */
const SPIN = 2000;
/** The same between calls that are run as one job: waking takes longer than most of them (about half a millisecond). Not where there are
 *  more threads than cores: those that spin would keep the one that they wait for from running. */
const SPIN_IN_CHAIN = 500_000;
/** A sleeper looks up at least this often (nanoseconds), in case the thread that it waits for was ended. team.ts counts
 *  its patience in these naps. */
const NAP: i64 = 20_000_000;

/** Why a job was stopped; team.ts has the same numbers. */
const STOP_FAULT: i32 = 2;
const STOP_SILENT: i32 = 3;

/** What `drain` returns when there is nothing to tell; job numbers are not negative. */
const NOTHING: i32 = -1;

/**
 * Waits until DONE reaches `needed`; false when the job was stopped. With `patience` it gives up, and stops the job, after
 * so many naps in which nothing was done: only the calling thread may, for nobody watches over it.
 */
function waitFor(job: usize, needed: i32, spins: i32, patience: i32): bool {
  let spin = 0, naps = 0, before = -1;
  while (true) {
    const done = atomic.load<i32>(job, JOB_DONE);
    // stopping raises DONE, after it has set STOP: so STOP is looked at second
    if (atomic.load<i32>(job, JOB_STOP)) return false;
    if (done >= needed) return true;
    if (++spin < spins) continue;
    if (done != before) {
      before = done;
      naps = 0;
    } else if (patience && ++naps > patience) {
      closeJob(job, STOP_SILENT);
      return false;
    }
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
    case OP_PAD: pad(job, program, record); break;
    case OP_PATCH_TILE: patchTile(job, program, record, scratch); break;
    case OP_OFFSET_TILE: offsetTile(job, program, record, scratch); break;
    case OP_SEGMENT_TILE: segmentTile(job, program, record, scratch); break;
    case OP_PACK_FILTERS: packFilters(job, program, record); break;
    case OP_DEPTHWISE: depthwise(job, program, record, scratch); break;
    case OP_FILTERS_BY_TAP: filtersByTap(job, program); break;
    case OP_WINOGRAD_WEIGHTS: winogradPanels(job, program, record, scratch); break;
    case OP_WINOGRAD_INPUT: winogradTransform(job, program, record, scratch); break;
    case OP_WINOGRAD_TILE: winogradTile(job, program, record, scratch); break;
    case OP_WINOGRAD_SLICE: winogradSlice(job, program, record, scratch); break;
    case OP_STRASSEN_FILTERS: strassenFilters(job, program, record); break;
    case OP_STRASSEN_TILE: strassenTile(job, program, record, scratch); break;
    case OP_POOL: pool(job, program, record, scratch); break;
    case OP_FOLD: fold(job, program, record, scratch); break;
    case OP_TAP_FILTERS: tapFilters(job, program, record); break;
    case OP_MAP: map(job, program, record, scratch); break;
    case OP_LINES: lines(job, program, record, scratch); break;
    case OP_MOVE: move(job, program, record); break;
    case OP_TAKE: take(job, program, record); break;
    case OP_PACK_BYTES: packBytes(job, program, record); break;
    case OP_INTEGER_DEPTHWISE: integerDepthwise(job, program, record, scratch); break;
    case OP_INTEGER_VECTOR: integerVector(job, program, record, scratch); break;
    case OP_WIDEN_ROWS_A: widenRows(job, program, record, false); break;
    case OP_WIDEN_ROWS_B: widenRows(job, program, record, true); break;
    case OP_WIDEN_COLUMNS: widenColumns(job, program, record); break;
    case OP_WIDEN_FILTERS_A: widenFilters(job, program, record, false); break;
    case OP_WIDEN_FILTERS_B: widenFilters(job, program, record, true); break;
    case OP_WIDEN_PLANES: widenPlanes(job, program, record); break;
    case OP_WIDEN_PIXELS: widenPixels(job, program, record); break;
    default: unreachable();
  }
}

// @ts-ignore: decorator
@external("env", "now")
declare function now(): f64;

/** The same, and says when it was done. The thread's number is written last, after all that the record has computed. */
function executeTimed(job: usize, program: usize, record: usize, scratch: usize, entry: usize, worker: usize): void {
  store<f64>(entry, now(), TRACE_START);
  execute(job, program, record, scratch);
  store<f64>(entry, now(), TRACE_END);
  atomic.store<i32>(entry, numberOf(worker) + 1, TRACE_THREAD);
}

// @ts-ignore: decorator
@inline
function numberOf(worker: usize): i32 {
  return <i32>((worker - WORKERS_ADDRESS) / WORKER_BYTES);
}

/**
 * Which link of a phase a thread does that has claimed one of it: the next of its own part, else the last one of another part. Values stay in
 * the caches of the thread that made them where calls are cut alike. There are as many links as claims, so one is left for each; in a part
 * that is counted up past its size, all are taken.
 */
function linkFor(job: usize, at: i32, limit: i32, first: i32, count: i32, worker: usize): i32 {
  const parts = load<i32>(job, JOB_PARTS);
  if (parts <= 1 || count == 1) return at;
  // the calling thread's number is above all: its part is the last, whatever the parts
  const number = numberOf(worker), own = number == MAX_WORKERS - 1 ? parts - 1 : number % parts;
  for (let turn = 0; turn < parts; turn++) {
    const part = (own + turn) % parts;
    const from = count * part / parts, size = count * (part + 1) / parts - from;
    if (!size) continue;
    const claims = load<usize>(job, JOB_CLAIMS) + <usize>((part * limit + first) * CLAIM_BYTES);
    const claimed = atomic.add<i64>(claims, turn ? <i64>1 << 32 : 1);
    const front = <i32>claimed, back = <i32>(claimed >> 32);
    if (front + back < size) return first + from + (turn ? size - 1 - back : front);
  }
  return unreachable();
}

/** Executes a record of one of the calls that make up a job, of the phase that `at` belongs to. */
function follow(job: usize, at: i32, limit: i32, scratch: usize, patience: i32, worker: usize): void {
  const links = load<usize>(job, JOB_LINKS), trace = load<usize>(job, JOB_TRACE);
  const claimed = links + at * LINK_BYTES;
  const first = load<i32>(claimed, LINK_NEEDS), count = load<i32>(claimed, LINK_COUNT);
  const isCrowded = atomic.load<i32>(job, JOB_HELPERS) > load<i32>(TEAM_ADDRESS, TEAM_CORES);
  if (!waitFor(job, first, isCrowded ? SPIN : SPIN_IN_CHAIN, patience)) return;
  const which = linkFor(job, at, limit, first, count, worker);
  const link = links + which * LINK_BYTES, entry = trace ? trace + which * TRACE_BYTES : 0;
  const call = load<usize>(link, LINK_JOB);
  const program = load<usize>(call, JOB_PROGRAM), record = load<usize>(link, LINK_RECORD);
  if (entry) executeTimed(call, program, record, scratch, entry, worker);
  else execute(call, program, record, scratch);
}

/**
 * Claims and executes records until none is left. `worker` is the address of the thread's own words, `scratch` its block
 * for edges. Returns the number of the job to the one thread that completed its last record, else NOTHING.
 */
export function drain(job: usize, worker: usize, scratch: usize, patience: i32): i32 {
  let finished = NOTHING;
  while (true) {
    const claim = atomic.add<i32>(job, 1, JOB_NEXT);
    if (claim >= CLOSED) return finished;
    const limit = atomic.load<i32>(job, JOB_LIMIT);
    const id = load<i32>(job, JOB_ID);
    const at = claim - CLOSED + limit;
    if (load<usize>(job, JOB_LINKS)) follow(job, at, limit, scratch, patience, worker);
    else {
      const trace = load<usize>(job, JOB_TRACE), entry = trace ? trace + at * TRACE_BYTES : 0;
      const program = load<usize>(job, JOB_PROGRAM);
      const record = program + PROGRAM_BYTES + at * RECORD_BYTES;
      if (waitFor(job, load<i32>(record, RECORD_NEEDS), SPIN, patience)) {
        if (entry) executeTimed(job, program, record, scratch, entry, worker);
        else execute(job, program, record, scratch);
      }
    }
    atomic.add<i32>(worker, 1, WORKER_BEAT);
    if (atomic.add<i32>(job, 1, JOB_DONE) + 1 == limit) finished = id;
    if (atomic.load<i32>(job, JOB_WAITERS)) atomic.notify(job + JOB_DONE, -1);
  }
}

/** For a worker: takes part if its index is among those wanted. Returns what `drain` does. Until the caller clears BUSY,
 *  the thread counts as inside of the job. */
export function takePart(job: usize, index: i32, worker: usize, scratch: usize): i32 {
  if (index >= atomic.load<i32>(job, JOB_HELPERS)) return NOTHING;
  atomic.store<i32>(worker, <i32>job, WORKER_BUSY);
  return drain(job, worker, scratch, 0);
}

/**
 * Stops a job: those that wait skip their records, and the ones that nobody has claimed count as done, so that the job
 * comes to rest when the last thread inside is through. Stopping twice is harmless.
 */
export function closeJob(job: usize, reason: i32): void {
  atomic.store<i32>(job, reason, JOB_STOP);
  const next = atomic.xchg<i32>(job, CLOSED, JOB_NEXT);
  if (next < CLOSED) atomic.add<i32>(job, CLOSED - next, JOB_DONE);
  atomic.notify(job + JOB_DONE, -1);
}

/** For a thread whose record trapped: stops the job and counts that record. Returns the job's number. */
export function failRecord(job: usize): i32 {
  const id = load<i32>(job, JOB_ID);
  closeJob(job, STOP_FAULT);
  atomic.add<i32>(job, 1, JOB_DONE);
  atomic.notify(job + JOB_DONE, -1);
  return id;
}

/** For a blocking caller: spins, then sleeps one nap, or less if the job comes to rest or a record is done meanwhile.
 *  Returns DONE. */
export function awaitJob(job: usize, spins: i32): i32 {
  let done = 0;
  for (let spin = 0; spin <= spins; spin++) {
    done = atomic.load<i32>(job, JOB_DONE);
    if (done >= atomic.load<i32>(job, JOB_LIMIT)) return done;
  }
  atomic.add<i32>(job, 1, JOB_WAITERS);
  atomic.wait<i32>(job + JOB_DONE, done, NAP);
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
