/**
 * Where things lie in the shared memory: the words that the scheduler writes and the kernels read. `assembly/generate.ts`
 * turns these lists into AssemblyScript constants, so both sides have one source. All words are 32 bits.
 */
import { type UpperSnake, upperSnake } from '../../core/names.ts';
import { CONSTANT_FIELDS, type StepOp } from '../../plan/program.ts';
import { LINE_KINDS } from '../../problem/lines.ts';
import { MAP_KINDS } from '../../problem/map.ts';

function offsets<const Names extends readonly string[]>(
  names: Names,
): Readonly<Record<Names[number], number>> {
  return Object.fromEntries(names.map((name, index) => [name, index * 4])) as Record<Names[number], number>;
}

/** One running job: its state, then the addresses and scalars of this call. */
export const JOB = offsets([
  // a cache line of what claims are made with
  'NEXT', // counts claims from CLOSED - LIMIT up to CLOSED; from there on none is good
  'LIMIT', // records of the program
  'ID', // different for every job, so that a late message is not taken for a later job's
  'HELPERS', // workers with a lower index take part
  'LINKS', // address of a table of links where the job is several calls in a row, else 0
  'PARTS', // of each phase of a table of links: a thread begins with its own
  'CLAIMS', // how many of each part are claimed, from its front (low half) and from its end: CLAIM_BYTES for each part and link
  'TRACE', // where the times of its records go, in their order, or 0
  'PROGRAM',
  'A',
  'B',
  'C',
  'C0',
  'BIAS',
  'SLOPE', // one float per channel (prelu)
  'PACKED_A',
  // and one of what threads wait for: whoever does lets those alone that claim
  'DONE', // records that are complete, or that nobody will claim; the job is at rest when it reaches LIMIT
  'STOP', // not 0: abort or fault; records are skipped
  'WAITERS', // threads asleep until DONE moves
  'PACKED_B',
  'PRIVATE', // space for each thread, PRIVATE_BYTES of the program apart
  'ALPHA',
  'BETA',
  'P0', // the activation's own numbers: bounds of clip, slope of leaky relu, alpha and beta of hard sigmoid
  'P1',
  'RAW_A', // 8-bit operands, the result that their sums become, and the block of QUANTIZED
  'RAW_B',
  'OUT',
  'QUANTIZED',
  'BEFORE', // the words of a depthwise convolution whose result this call multiplies without its being written anywhere, or 0
] as const);
export const JOB_BYTES = 128;

export const CLAIM_BYTES = 8;

/** One record of a call that is run with others as one job. */
export const LINK = offsets([
  'NEEDS', // links that must be complete: all before the first one of its phase
  'COUNT', // links of its phase
  'JOB', // the call's own words, from PROGRAM on; those before it are not used
  'RECORD',
] as const);
export const LINK_BYTES = 16;

/** When a record was done. START and END are doubles: milliseconds of the clock that all threads share. */
export const TRACE = { START: 0, END: 8, THREAD: 16 } as const;
export const TRACE_BYTES = 32;

/** Constants of a program: what is the same in every call of a problem. Records follow at PROGRAM_BYTES, the table of offsets
 *  behind them. */
export const PROGRAM = offsets([
  'KERNEL', // function table index of the micro-kernel, and of its one-row partner
  'KERNEL_ONE_ROW',
  'OFFSETS', // address of the table
  'PRIVATE_BYTES',
  'BIAS_KIND',
  'SLOPE_KIND',
  'ACTIVATION',
  'FLAGS',
  'OLD_ROWS', // rows of the result to which old values are added; 0: all of them
  ...(CONSTANT_FIELDS.map(upperSnake) as UpperSnake<(typeof CONSTANT_FIELDS)[number]>[]),
] as const);
export const PROGRAM_BYTES = 320;

/** One thing to do; claimed by one thread. Offsets are bytes, extents elements. */
export const RECORD = offsets([
  'OP',
  'NEEDS', // records that must be complete before this one may start: all of the earlier phases
  'A_OFFSET',
  'B_OFFSET',
  'C_OFFSET', // of this member of the batch
  'M0',
  'ROWS',
  'N0',
  'COLS',
  'K0',
  'KS',
  'FLAGS',
  'PACKED_A_OFFSET',
  'PACKED_B_OFFSET',
  'CHANNEL', // first output channel of this member
] as const);
export const RECORD_BYTES = 64;

export const OP = {
  packA: 0,
  packB: 1,
  tile: 2,
  vector: 3,
  pad: 4,
  patchTile: 5,
  offsetTile: 6,
  segmentTile: 7,
  packFilters: 8,
  depthwise: 9,
  filtersByTap: 10,
  winogradWeights: 11,
  winogradInput: 12,
  winogradTile: 13,
  winogradSlice: 21,
  strassenFilters: 22,
  strassenTile: 23,
  pool: 14,
  integerVector: 31,
  integerDepthwise: 32,
  packBytes: 33,
  widenRowsA: 24,
  widenRowsB: 25,
  widenColumns: 26,
  widenFiltersA: 27,
  widenFiltersB: 28,
  widenPlanes: 29,
  widenPixels: 30,
  fold: 15,
  tapFilters: 16,
  map: 17,
  lines: 18,
  move: 19,
  take: 20,
} as const satisfies Record<StepOp, number>;

/** FIRST: the first pass over k (C is not read); LAST: the final one (the epilogue follows). */
export const RECORD_FLAG = { FIRST: 1, LAST: 2 } as const;

/** SCALED: alpha is not 1; ACCUMULATE: beta is not 0; KEEP_OLD: tiles copy the old result to C0 first; EXACT: NaN gets its
 *  canonical bits; EPILOGUE: any of it, or bias or activation. */
export const PROGRAM_FLAG = { SCALED: 1, ACCUMULATE: 2, KEEP_OLD: 4, EXACT: 8, EPILOGUE: 16 } as const;

export const BIAS_KIND = { none: 0, row: 1, column: 2 } as const;
export const ACTIVATION = {
  none: 0,
  relu: 1,
  clip: 2,
  gelu: 3,
  silu: 4,
  tanh: 5,
  sigmoid: 6,
  leakyRelu: 7,
  hardSwish: 8,
  hardSigmoid: 9,
  prelu: 10,
  affineHardSwish: 11,
} as const;

function numbered<const Name extends string>(names: readonly Name[]): Readonly<Record<Name, number>> {
  return Object.fromEntries(names.map((name, index) => [name, index])) as Record<Name, number>;
}

export const MAP_KIND = numbered(MAP_KINDS);
export const LINE_KIND = numbered(LINE_KINDS);
export const AFFINE = { none: 0, line: 1, place: 2 } as const;
/** How elements are moved: in runs, by turning planes, one by one. */
export const MOVE = { run: 0, turn: 1, single: 2 } as const;

/** What becomes of integer sums. */
export const OUT_KIND = { none: 0, i32: 1, u8: 2, i8: 3, f32: 4 } as const;

/** Zero points and scales of a call: addresses of arrays, and bytes from one value to the next (0 where all share one). */
export const QUANTIZED = offsets([
  'ZERO_A', // i32: of rows of A or of filters
  'ZERO_A_STEP',
  'ZERO_B',
  'ZERO_B_STEP',
  'ROW_SCALE', // f32: of rows and of columns of the result
  'ROW_SCALE_STEP',
  'COL_SCALE',
  'COL_SCALE_STEP',
  'OUT_SCALE',
  'OUT_ZERO',
  'BIAS', // i32, or 0 for none
  'BIAS_BY_ROW',
] as const);
export const QUANTIZED_BYTES = 64;

/** The team's mailbox. */
export const TEAM = offsets([
  'SIGNAL', // rises with every posted job: the word that workers sleep on
  'JOB', // address of the newest job
  'QUIT',
  'CORES', // what threads there are run on
] as const);

/** Each worker's own words. */
export const WORKER = offsets([
  'BUSY', // address of the job it is inside of, or 0
  'BEAT', // rises with every record it completes
] as const);
export const WORKER_BYTES = 64;

export const MAX_WORKERS = 64;
export const CLOSED = 0x7f000000;

/** The first 64 KiB: nothing (so that a null address faults nobody's data), the team, workers, a block of zeros that
 *  stands for C in a first pass, and per-thread scratch for blocks at the edge. The arena begins behind it. */
export const TEAM_ADDRESS = 1024;
export const WORKERS_ADDRESS = 2048;
export const ZEROS_ADDRESS = WORKERS_ADDRESS + MAX_WORKERS * WORKER_BYTES;
export const ZEROS_BYTES = 1024;
export const SCRATCH_ADDRESS = 8192;
/** An edge block of at most 8 x 16 or 1 x 32 floats. */
export const SCRATCH_BYTES = 512;
/** Constants of the language's library (tables of its logarithm and powers); asconfig.json says the same as `memoryBase`. */
export const TABLES_ADDRESS = 49152;
export const ARENA_ADDRESS = 65536;
