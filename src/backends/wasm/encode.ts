/** Writes a program and a call into memory, word by word, as layout.ts says and the kernels read. */
import { roundUp } from '../../core/math.ts';
import { findKernel, oneRowPartner } from '../../kernels/table.ts';
import type { Program, Step } from '../../plan/program.ts';
import type { Call } from '../types.ts';
import {
  ACTIVATION,
  BIAS_KIND,
  CLOSED,
  JOB,
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

export function programBytes(program: Program): number {
  return PROGRAM_BYTES + program.steps.length * RECORD_BYTES;
}

function flagsOf(program: Program): number {
  const { problem: p, kind } = program;
  const epilogue = p.scaled || p.accumulate || p.exact || p.bias !== 'none' || p.activation !== 'none';
  const matrixIsA = kind === 'vector' && p.m !== 1;
  return (
    (p.scaled ? PROGRAM_FLAG.SCALED : 0) |
    (p.accumulate ? PROGRAM_FLAG.ACCUMULATE : 0) |
    (p.exact ? PROGRAM_FLAG.EXACT : 0) |
    (epilogue ? PROGRAM_FLAG.EPILOGUE : 0) |
    (matrixIsA ? PROGRAM_FLAG.MATRIX_A : 0)
  );
}

function kernelIndex(kernels: KernelIndex, name: string): number {
  const index = kernels.get(name);
  if (index === undefined) throw new Error(`the loaded module has no kernel ${name}`);
  return index;
}

const OPS = { packA: OP.PACK_A, packB: OP.PACK_B, tile: OP.TILE, vector: OP.VECTOR } as const;

function encodeStep(words: Int32Array, at: number, step: Step): void {
  const put = (field: number, value: number) => {
    words[at + (field >> 2)] = value;
  };
  put(RECORD.OP, OPS[step.op]);
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
}

export function encodeProgram(
  words: Int32Array,
  address: number,
  program: Program,
  kernels: KernelIndex,
): void {
  const { problem: p, plan } = program;
  const kernel = findKernel(plan.kernel)!;
  const base = address >> 2;
  const put = (field: number, value: number) => {
    words[base + (field >> 2)] = value;
  };
  put(PROGRAM.KERNEL, kernelIndex(kernels, plan.kernel));
  put(PROGRAM.KERNEL_ONE_ROW, kernelIndex(kernels, oneRowPartner(kernel).name));
  put(PROGRAM.MR, kernel.mr);
  put(PROGRAM.NR, kernel.nr);
  put(PROGRAM.KC, plan.kc);
  put(PROGRAM.K, p.k);
  put(PROGRAM.DIRECT_A, plan.packing === 'ab' ? 0 : 1);
  put(PROGRAM.DIRECT_B, plan.packing === 'none' && !p.prepackedB ? 1 : 0);
  put(PROGRAM.TRANSPOSE_A, p.transposeA ? 1 : 0);
  put(PROGRAM.TRANSPOSE_B, p.transposeB ? 1 : 0);
  put(PROGRAM.LDA, 4 * (p.transposeA ? p.m : p.k));
  put(PROGRAM.LDB, 4 * (p.transposeB ? p.k : p.n));
  put(PROGRAM.LDC, 4 * p.n);
  put(PROGRAM.M_PADDED, roundUp(p.m, kernel.mr));
  put(PROGRAM.N_PADDED, roundUp(p.n, kernel.nr));
  put(PROGRAM.BIAS_KIND, BIAS_KIND[p.bias]);
  put(PROGRAM.ACTIVATION, ACTIVATION[p.activation]);
  put(PROGRAM.FLAGS, flagsOf(program));
  program.steps.forEach((step, index) => {
    encodeStep(words, (address + PROGRAM_BYTES + index * RECORD_BYTES) >> 2, step);
  });
}

const floatBits = new Float32Array(1);
const intBits = new Int32Array(floatBits.buffer);

function bitsOf(value: number): number {
  floatBits[0] = value;
  return intBits[0]!;
}

/** Fills a job's words; it stays closed until the team opens it, so that a late thread cannot claim half-written records. */
export function encodeJob(
  words: Int32Array,
  address: number,
  id: number,
  programAddress: number,
  steps: number,
  call: Call,
): void {
  const at = address >> 2;
  Atomics.store(words, at + (JOB.NEXT >> 2), CLOSED);
  words[at + (JOB.DONE >> 2)] = 0;
  words[at + (JOB.LIMIT >> 2)] = steps;
  words[at + (JOB.ID >> 2)] = id;
  words[at + (JOB.STOP >> 2)] = 0;
  words[at + (JOB.WAITERS >> 2)] = 0;
  words[at + (JOB.PROGRAM >> 2)] = programAddress;
  words[at + (JOB.A >> 2)] = call.a;
  words[at + (JOB.B >> 2)] = call.b;
  words[at + (JOB.C >> 2)] = call.c;
  words[at + (JOB.C0 >> 2)] = call.c0;
  words[at + (JOB.BIAS >> 2)] = call.bias;
  words[at + (JOB.PACKED_A >> 2)] = call.packedA;
  words[at + (JOB.PACKED_B >> 2)] = call.packedB;
  words[at + (JOB.ALPHA >> 2)] = bitsOf(call.alpha);
  words[at + (JOB.BETA >> 2)] = bitsOf(call.beta);
  words[at + (JOB.CLIP_MIN >> 2)] = bitsOf(call.clipMin);
  words[at + (JOB.CLIP_MAX >> 2)] = bitsOf(call.clipMax);
}
