/** Writes a program and a call into memory, word by word, as layout.ts says and the kernels read. */
import { roundUp } from '../../core/math.ts';
import { upperSnake } from '../../core/names.ts';
import { findKernel, oneRowPartner } from '../../kernels/table.ts';
import { CONSTANT_FIELDS, type Program, type Step } from '../../plan/program.ts';
import type { LinkedStep } from '../../plan/waves.ts';
import type { Call } from '../types.ts';
import {
  ACTIVATION,
  BIAS_KIND,
  CLOSED,
  JOB,
  LINK,
  LINK_BYTES,
  OP,
  PROGRAM,
  PROGRAM_BYTES,
  PROGRAM_FLAG,
  RECORD,
  RECORD_BYTES,
  RECORD_FLAG,
} from './layout.ts';

/** Where kernels are in the function table of every instance. */
export type KernelIndex = ReadonlyMap<string, number>;

/** Where each constant of a program goes. */
const CONSTANT_PLACES = CONSTANT_FIELDS.map((field) => [field, PROGRAM[upperSnake(field)]] as const);

export function programBytes(program: Program): number {
  return offsetsAt(program) + 4 * program.offsets.length;
}

/** Where the table of offsets begins, in bytes from the program. */
function offsetsAt(program: Program): number {
  return PROGRAM_BYTES + program.steps.length * RECORD_BYTES;
}

function flagsOf({ epilogue, constants }: Program): number {
  const { scaled, accumulate, keepOld, exact, bias, activation } = epilogue;
  const any =
    constants.outKind > 0 || scaled || accumulate || exact || bias !== 'none' || activation !== 'none';
  return (
    (scaled ? PROGRAM_FLAG.SCALED : 0) |
    (accumulate ? PROGRAM_FLAG.ACCUMULATE : 0) |
    (keepOld ? PROGRAM_FLAG.KEEP_OLD : 0) |
    (exact ? PROGRAM_FLAG.EXACT : 0) |
    (any ? PROGRAM_FLAG.EPILOGUE : 0)
  );
}

function kernelIndex(kernels: KernelIndex, name: string): number {
  const index = kernels.get(name);
  if (index === undefined) throw new Error(`the loaded module has no kernel ${name}`);
  return index;
}

function encodeStep(words: Int32Array, at: number, step: Step): void {
  const put = (field: number, value: number) => {
    words[at + (field >>> 2)] = value;
  };
  put(RECORD.OP, OP[step.op]);
  put(RECORD.NEEDS, step.needs);
  put(RECORD.A_OFFSET, step.a * 4);
  put(RECORD.B_OFFSET, step.b * 4);
  put(RECORD.C_OFFSET, step.c * 4);
  put(RECORD.M0, step.m0);
  put(RECORD.ROWS, step.rows);
  put(RECORD.N0, step.n0);
  put(RECORD.COLS, step.cols);
  put(RECORD.K0, step.k0);
  put(RECORD.KS, step.ks);
  put(RECORD.FLAGS, (step.first ? RECORD_FLAG.FIRST : 0) | (step.last ? RECORD_FLAG.LAST : 0));
  put(RECORD.PACKED_A_OFFSET, step.packedA * 4);
  put(RECORD.PACKED_B_OFFSET, step.packedB * 4);
  put(RECORD.CHANNEL, step.channel);
}

/** Bytes from one thread's own space to the next's: whole cache lines. */
export function privateBytes(program: Program): number {
  return roundUp(4 * program.privateElements, 64);
}

/** Writes the program for an address; the words begin there too, or at `at` where they are written elsewhere and moved. */
export function encodeProgram(
  words: Int32Array,
  address: number,
  program: Program,
  kernels: KernelIndex,
  at = address,
): void {
  const { constants, epilogue, plan } = program;
  const kernel = findKernel(plan.kernel);
  const base = at >>> 2;
  const put = (field: number, value: number) => {
    words[base + (field >>> 2)] = value;
  };
  // pooling has steps of its own and no kernel of the table
  if (kernel) {
    put(PROGRAM.KERNEL, kernelIndex(kernels, plan.kernel));
    put(PROGRAM.KERNEL_ONE_ROW, kernelIndex(kernels, oneRowPartner(kernel).name));
  }
  put(PROGRAM.OFFSETS, address + offsetsAt(program));
  put(PROGRAM.PRIVATE_BYTES, privateBytes(program));
  put(PROGRAM.BIAS_KIND, BIAS_KIND[epilogue.bias]);
  put(PROGRAM.SLOPE_KIND, BIAS_KIND[epilogue.slope]);
  put(PROGRAM.ACTIVATION, ACTIVATION[epilogue.activation]);
  put(PROGRAM.FLAGS, flagsOf(program));
  put(PROGRAM.OLD_ROWS, epilogue.oldRows);
  for (const [field, place] of CONSTANT_PLACES) put(place, constants[field]);
  program.steps.forEach((step, index) => {
    encodeStep(words, (at + PROGRAM_BYTES + index * RECORD_BYTES) >>> 2, step);
  });
  const table = (at + offsetsAt(program)) >>> 2;
  program.offsets.forEach((offset, index) => {
    words[table + index] = 4 * offset;
  });
}

const floatBits = new Float32Array(1);
const intBits = new Int32Array(floatBits.buffer);

function bitsOf(value: number): number {
  floatBits[0] = value;
  return intBits[0]!;
}

/** A job's own words: its number, how many records it has, and where their times go (0: nowhere). */
export interface JobState {
  readonly id: number;
  readonly records: number;
  readonly trace: number;
}

function encodeState(words: Int32Array, address: number, { id, records, trace }: JobState): void {
  const at = address >>> 2;
  Atomics.store(words, at + (JOB.NEXT >>> 2), CLOSED);
  words[at + (JOB.DONE >>> 2)] = 0;
  words[at + (JOB.LIMIT >>> 2)] = records;
  words[at + (JOB.ID >>> 2)] = id;
  words[at + (JOB.STOP >>> 2)] = 0;
  words[at + (JOB.WAITERS >>> 2)] = 0;
  words[at + (JOB.TRACE >>> 2)] = trace;
}

/** Fills a job's words; it stays closed until the team opens it, so that a late thread cannot claim half-written records. `before` are
 *  the words of a call that this one computes where it reads it. */
export function encodeJob(
  words: Int32Array,
  address: number,
  state: JobState,
  programAddress: number,
  call: Call,
  before = 0,
): void {
  const at = address >>> 2;
  encodeState(words, address, state);
  words[at + (JOB.LINKS >>> 2)] = 0;
  words[at + (JOB.BEFORE >>> 2)] = before;
  words[at + (JOB.PROGRAM >>> 2)] = programAddress;
  words[at + (JOB.A >>> 2)] = call.a;
  words[at + (JOB.B >>> 2)] = call.b;
  words[at + (JOB.C >>> 2)] = call.c;
  words[at + (JOB.C0 >>> 2)] = call.c0;
  words[at + (JOB.BIAS >>> 2)] = call.bias;
  words[at + (JOB.PACKED_A >>> 2)] = call.packedA;
  words[at + (JOB.PACKED_B >>> 2)] = call.packedB;
  words[at + (JOB.SLOPE >>> 2)] = call.slope;
  words[at + (JOB.PRIVATE >>> 2)] = call.own;
  if (call.raw) {
    words[at + (JOB.RAW_A >>> 2)] = call.raw.a;
    words[at + (JOB.RAW_B >>> 2)] = call.raw.b;
    words[at + (JOB.OUT >>> 2)] = call.raw.out;
    words[at + (JOB.QUANTIZED >>> 2)] = call.raw.quantized;
  }
  words[at + (JOB.ALPHA >>> 2)] = bitsOf(call.alpha);
  words[at + (JOB.BETA >>> 2)] = bitsOf(call.beta);
  words[at + (JOB.P0 >>> 2)] = bitsOf(call.p0);
  words[at + (JOB.P1 >>> 2)] = bitsOf(call.p1);
}

/** A call that is run with others as one job: where its words and its program are. */
export interface LinkedCall {
  readonly job: number;
  readonly program: number;
}

/** Where the table of links is, into how many parts its phases are cut, and where it is counted what of them is claimed. */
export interface LinkedChain {
  readonly links: number;
  readonly parts: number;
  readonly claims: number;
}

/** Writes the table of links in the order in which they are claimed. */
export function encodeLinks(
  words: Int32Array,
  address: number,
  calls: readonly LinkedCall[],
  order: readonly LinkedStep[],
): void {
  let at = address >>> 2;
  for (const { call, step, needs, count } of order) {
    const { job, program } = calls[call]!;
    words[at + (LINK.NEEDS >>> 2)] = needs;
    words[at + (LINK.COUNT >>> 2)] = count;
    words[at + (LINK.JOB >>> 2)] = job;
    words[at + (LINK.RECORD >>> 2)] = program + PROGRAM_BYTES + step * RECORD_BYTES;
    at += LINK_BYTES >>> 2;
  }
}

/** Fills the words of a job that is several calls; it stays closed as one call's does. */
export function encodeChain(words: Int32Array, address: number, state: JobState, chain: LinkedChain): void {
  encodeState(words, address, state);
  words[(address + JOB.LINKS) >>> 2] = chain.links;
  words[(address + JOB.PARTS) >>> 2] = chain.parts;
  words[(address + JOB.CLAIMS) >>> 2] = chain.claims;
}
