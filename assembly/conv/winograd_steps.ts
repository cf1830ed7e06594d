/** Steps of Winograd convolution: where a slice's matrices lie, and the products between the transforms. */
import { ownSpace } from './own';
import { winogradInput, winogradOutput, winogradWeights } from './winograd';
import { blocks } from '../gemm/blocks';
import { bytesOf, finishBlock } from '../gemm/macro';
import {
  JOB_A, JOB_B, JOB_C, JOB_PACKED_A, JOB_PACKED_B, PROGRAM_BLOCK_ROWS, PROGRAM_OWN_B,
  PROGRAM_IN_H, PROGRAM_IN_W, PROGRAM_K, PROGRAM_K_H, PROGRAM_MR, PROGRAM_NR, PROGRAM_N_PADDED, PROGRAM_OUT_H, PROGRAM_OUT_W,
  PROGRAM_PAD_LEFT, PROGRAM_PAD_TOP, PROGRAM_STEP_A, PROGRAM_STEP_B, PROGRAM_TILES_X, PROGRAM_TILE_SIDE, PROGRAM_WORD_STEPS,
  RECORD_A_OFFSET, RECORD_B_OFFSET, RECORD_COLS, RECORD_C_OFFSET, RECORD_K0, RECORD_KS, RECORD_M0, RECORD_N0,
  RECORD_PACKED_A_OFFSET, RECORD_ROWS,
} from '../gen/layout';

/** Whether the 32-bit elements are words of two 16-bit integers. */
// @ts-ignore: decorator
@inline
function inWords(program: usize): bool {
  return load<i32>(program, PROGRAM_WORD_STEPS) == 2;
}

/** Side of the tiles that are transformed. */
// @ts-ignore: decorator
@inline
function sideOfInputs(program: usize): i32 {
  return load<i32>(program, PROGRAM_TILE_SIDE) + load<i32>(program, PROGRAM_K_H) - 1;
}

/** Filters M0, ROWS of a group. */
export function winogradPanels(job: usize, program: usize, record: usize, scratch: usize): void {
  if (inWords(program)) panelsOf<i16>(job, program, record, scratch);
  else panelsOf<f32>(job, program, record, scratch);
}

function panelsOf<T>(job: usize, program: usize, record: usize, scratch: usize): void {
  winogradWeights<T>(
    load<i32>(program, PROGRAM_TILE_SIDE), load<i32>(program, PROGRAM_K_H), load<usize>(job, JOB_A) + load<usize>(record, RECORD_A_OFFSET), load<i32>(program, PROGRAM_K),
    load<i32>(record, RECORD_M0), load<i32>(record, RECORD_ROWS), load<i32>(program, PROGRAM_MR),
    load<usize>(job, JOB_PACKED_A) + load<usize>(record, RECORD_PACKED_A_OFFSET), bytesOf(program, PROGRAM_STEP_A), scratch,
  );
}

/** Where the transformed image lies: shared by all threads, or in the thread's own space. */
function matricesB(job: usize, program: usize, scratch: usize): usize {
  const own = bytesOf(program, PROGRAM_OWN_B);
  return own ? ownSpace(job, program, scratch) + own : load<usize>(job, JOB_PACKED_B);
}

/** Channels K0, KS of the slice N0, COLS (rows of tiles). */
export function winogradTransform(job: usize, program: usize, record: usize, scratch: usize): void {
  if (inWords(program)) transformOf<i16>(job, program, record, scratch);
  else transformOf<f32>(job, program, record, scratch);
}

function transformOf<T>(job: usize, program: usize, record: usize, scratch: usize): void {
  const inH = load<i32>(program, PROGRAM_IN_H), inW = load<i32>(program, PROGRAM_IN_W);
  const plane = <usize>(inH * inW) << 2;
  const k0 = load<i32>(record, RECORD_K0);
  winogradInput<T>(
    load<i32>(program, PROGRAM_TILE_SIDE), sideOfInputs(program), load<usize>(job, JOB_B) + load<usize>(record, RECORD_B_OFFSET) + k0 * plane, plane, inH, inW,
    load<i32>(program, PROGRAM_PAD_TOP), load<i32>(program, PROGRAM_PAD_LEFT), load<i32>(program, PROGRAM_TILES_X),
    load<i32>(record, RECORD_N0), load<i32>(record, RECORD_COLS), k0, load<i32>(record, RECORD_KS), load<i32>(program, PROGRAM_K),
    load<i32>(program, PROGRAM_NR), matricesB(job, program, scratch), bytesOf(program, PROGRAM_STEP_B), ownSpace(job, program, scratch),
  );
}

/** Output channels M0, ROWS of the slice N0, COLS: one product for each point, then the transform back and the last pass. */
export function winogradTile(job: usize, program: usize, record: usize, scratch: usize): void {
  block(job, program, record, load<i32>(record, RECORD_M0), load<i32>(record, RECORD_ROWS), scratch);
}

/** The slice N0, COLS from the image to the result: nobody else reads what is between. */
export function winogradSlice(job: usize, program: usize, record: usize, scratch: usize): void {
  winogradTransform(job, program, record, scratch);
  const rows = load<i32>(record, RECORD_ROWS), step = load<i32>(program, PROGRAM_BLOCK_ROWS);
  for (let m0 = 0; m0 < rows; m0 += step) block(job, program, record, m0, min(step, rows - m0), scratch);
}

function block(job: usize, program: usize, record: usize, m0: i32, rows: i32, scratch: usize): void {
  if (inWords(program)) tileOf<i32>(job, program, record, m0, rows, scratch);
  else tileOf<f32>(job, program, record, m0, rows, scratch);
}

function tileOf<T>(job: usize, program: usize, record: usize, m0: i32, rows: i32, scratch: usize): void {
  const side = load<i32>(program, PROGRAM_TILE_SIDE), mr = load<i32>(program, PROGRAM_MR), nr = load<i32>(program, PROGRAM_NR);
  const k = load<i32>(program, PROGRAM_K), tilesX = load<i32>(program, PROGRAM_TILES_X);
  const ty0 = load<i32>(record, RECORD_N0), tileRows = load<i32>(record, RECORD_COLS);
  const outH = load<i32>(program, PROGRAM_OUT_H), outW = load<i32>(program, PROGRAM_OUT_W);
  const a = load<usize>(job, JOB_PACKED_A) + load<usize>(record, RECORD_PACKED_A_OFFSET) + (m0 * k << 2);
  const b = matricesB(job, program, scratch);
  const stepA = bytesOf(program, PROGRAM_STEP_A), stepB = bytesOf(program, PROGRAM_STEP_B);
  // whole blocks: the space has room for them, so there are no edges
  const wholeRows = (rows + mr - 1) / mr * mr;
  const columns = (tileRows * tilesX + nr - 1) / nr * nr;
  const ld = bytesOf(program, PROGRAM_N_PADDED);
  const products = ownSpace(job, program, scratch);
  const stepM = wholeRows * ld;
  const alpha = sideOfInputs(program), points = alpha * alpha;
  for (let xi = 0; xi < points; xi++) {
    blocks(
      program, k, false, a + xi * stepA, 0, b + xi * stepB, <usize>(nr << 2), <usize>k << 2,
      products + xi * stepM, ld, wholeRows, columns, true, scratch,
    );
  }
  const free = products + points * stepM;
  const plane = <usize>(outH * outW) << 2;
  const c = load<usize>(job, JOB_C) + load<usize>(record, RECORD_C_OFFSET) + m0 * plane;
  const y0 = ty0 * side, count = min(tileRows * side, outH - y0);
  for (let row = 0; row < rows; row++) {
    const to = c + row * plane;
    winogradOutput<T>(side, alpha, products + row * ld, stepM, to, outH, outW, tilesX, ty0, tileRows, free);
    finishBlock(job, program, record, to + (y0 * outW << 2), plane, m0 + row, 1, y0 * outW, count * outW, scratch);
  }
}
