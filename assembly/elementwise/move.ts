/** Elements of four bytes from one order into another: runs that both arrays have, planes that are turned, or one by one. */
import { high32, high64, low32, low64 } from '../conv/transpose4';
import { copyFloats } from '../conv/strip';
import { rowAt } from './map';
import {
  JOB_A, JOB_B, JOB_C, MOVE_RUN, MOVE_TURN, PROGRAM_INNER, PROGRAM_K, PROGRAM_KIND, PROGRAM_OFFSETS, PROGRAM_RANK, PROGRAM_TAPS, RECORD_COLS, RECORD_K0, RECORD_KS, RECORD_M0, RECORD_N0, RECORD_ROWS,
} from '../gen/layout';

/** Columns of a plane that are turned together: with 64 lines of the other side they stay in the first cache. */
const STRIP = 64;

/**
 * Element (q, p) of a plane lies q * 4 + p * pitchFrom bytes from `from` on and goes to q * pitchTo + p * 4: `rows` along q, `cols` along p.
 */
function turn(from: usize, pitchFrom: usize, to: usize, pitchTo: usize, rows: i32, cols: i32): void {
  let p = 0;
  for (; p + 4 <= cols; p += 4) {
    let x = from + p * pitchFrom, y = to + (<usize>p << 2), q = 0;
    for (; q + 4 <= rows; q += 4) {
      const a = v128.load(x), b = v128.load(x + pitchFrom), c = v128.load(x + 2 * pitchFrom), d = v128.load(x + 3 * pitchFrom);
      const ab = low32(a, b), cd = low32(c, d), abHigh = high32(a, b), cdHigh = high32(c, d);
      v128.store(y, low64(ab, cd));
      v128.store(y + pitchTo, high64(ab, cd));
      v128.store(y + 2 * pitchTo, low64(abHigh, cdHigh));
      v128.store(y + 3 * pitchTo, high64(abHigh, cdHigh));
      x += 16;
      y += 4 * pitchTo;
    }
    // at most three lines are left: vectors reach behind the columns, at the end into what the arena leaves free behind each block
    if (q < rows) {
      const a = v128.load(x), b = v128.load(x + pitchFrom), c = v128.load(x + 2 * pitchFrom), d = v128.load(x + 3 * pitchFrom);
      const ab = low32(a, b), cd = low32(c, d);
      v128.store(y, low64(ab, cd));
      if (q + 1 < rows) v128.store(y + pitchTo, high64(ab, cd));
      if (q + 2 < rows) v128.store(y + 2 * pitchTo, low64(high32(a, b), high32(c, d)));
    }
  }
  for (; p < cols; p++) {
    const x = from + p * pitchFrom, y = to + (<usize>p << 2);
    for (let q = 0; q < rows; q++) store<u32>(y + q * pitchTo, load<u32>(x + (<usize>q << 2)));
  }
}

/**
 * Outer indices N0, COLS. Of each: elements K0, KS of the innermost extent, or of a plane that is turned the lines M0, ROWS of its other
 * extent. The table: the outer extents, then distances along them and along the inner ones (one, or two of a plane: q, p) of the array that is
 * read, then of the one that is written.
 */
export function move(job: usize, program: usize, record: usize): void {
  const kind = load<i32>(program, PROGRAM_KIND), rank = load<i32>(program, PROGRAM_RANK), table = load<usize>(program, PROGRAM_OFFSETS);
  const inner = kind == MOVE_TURN ? 2 : 1;
  const stridesFrom = table + (<usize>rank << 2), stridesTo = stridesFrom + (<usize>(rank + inner) << 2);
  const n0 = load<i32>(record, RECORD_N0), k0 = load<i32>(record, RECORD_K0), ks = load<i32>(record, RECORD_KS);
  const last = <usize>(rank + inner - 1) << 2;
  const stepFrom = load<i32>(stridesFrom + last), stepTo = load<i32>(stridesTo + last);
  for (let index = n0; index < n0 + load<i32>(record, RECORD_COLS); index++) {
    const from = load<usize>(job, JOB_A) + rowAt(index, rank, table, stridesFrom), to = load<usize>(job, JOB_C) + rowAt(index, rank, table, stridesTo);
    if (kind == MOVE_RUN) copyRun(to + (<usize>k0 << 2), from + (<usize>k0 << 2), <usize>ks << 2);
    else if (kind == MOVE_TURN) {
      const pitchTo = <usize>load<i32>(stridesTo + last - 4), m0 = load<i32>(record, RECORD_M0);
      const corner = from + (<usize>m0 << 2), target = to + m0 * pitchTo;
      for (let p = k0; p < k0 + ks; p += STRIP)
        turn(corner + p * stepFrom, <usize>stepFrom, target + (<usize>p << 2), pitchTo, load<i32>(record, RECORD_ROWS), min(STRIP, k0 + ks - p));
    } else {
      for (let i = k0; i < k0 + ks; i++) store<u32>(to + i * stepTo, load<u32>(from + i * stepFrom));
    }
  }
}

/** Longer runs are copied by the engine. Shorter ones are not worth the call out of the module, see assembly/conv/strip.ts. */
const LONG_RUN: usize = 1024;

// @ts-ignore: decorator
@inline
function copyRun(to: usize, from: usize, bytes: usize): void {
  if (bytes >= LONG_RUN) memory.copy(to, from, bytes);
  else copyFloats(to, from, <i32>(bytes >> 2));
}

/**
 * Places `list` up to `end` of one line. Four that lie within four elements are one load and a shuffle by what they are apart: so are those
 * of slices, and of images that are enlarged to the nearest pixel. The load may go past the line's end, but not past the memory's.
 */
function takeSingles(from: usize, list: usize, end: usize, to: usize): void {
  const last = (<usize>memory.size() << 16) - 16;
  const spread = i8x16(0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12), bytes = i32x4.splat(0x03020100);
  for (; list + 16 <= end; list += 16) {
    const place = load<i32>(list), first = from + (<usize>place << 2);
    const apart = i32x4.sub(v128.load(list), i32x4.splat(place));
    let v: v128;
    if (first <= last && !v128.any_true(i32x4.gt_u(apart, i32x4.splat(3))))
      v = i8x16.swizzle(v128.load(first), i8x16.add(i8x16.swizzle(i32x4.shl(apart, 2), spread), bytes));
    else {
      v = v128.load32_zero(first);
      v = v128.load_lane<i32>(from + (<usize>load<i32>(list, 4) << 2), v, 1);
      v = v128.load_lane<i32>(from + (<usize>load<i32>(list, 8) << 2), v, 2);
      v = v128.load_lane<i32>(from + (<usize>load<i32>(list, 12) << 2), v, 3);
    }
    v128.store(to, v);
    to += 16;
  }
  for (; list < end; list += 4) {
    store<u32>(to, load<u32>(from + (<usize>load<i32>(list) << 2)));
    to += 4;
  }
}

/**
 * How often each place of `list` up to `end` stands there, where neighbours follow one another so: those of lines that are enlarged to the nearest
 * element. 0 where they do not, or by a factor that is neither 2 nor a multiple of 4.
 */
function timesEach(list: usize, end: usize): i32 {
  let place = load<i32>(list), at = list;
  while (at < end && load<i32>(at) == place) at += 4;
  const each = at - list;
  if ((each != 8 && (each & 15)) || (end - list) % each) return 0;
  for (; at < end; at += 4) {
    if ((at - list) % each == 0) place++;
    if (load<i32>(at) != place) return 0;
  }
  return <i32>(each >> 2);
}

/** `count` elements twice each. */
function takeDoubled(from: usize, count: i32, to: usize): void {
  for (; count >= 4; count -= 4) {
    const v = v128.load(from);
    v128.store(to, v128.shuffle<f32>(v, v, 0, 0, 1, 1));
    v128.store(to, v128.shuffle<f32>(v, v, 2, 2, 3, 3), 16);
    from += 16;
    to += 32;
  }
  for (; count > 0; count--) {
    const one = load<u32>(from);
    store<u32>(to, one);
    store<u32>(to, one, 4);
    from += 4;
    to += 8;
  }
}

/** `count` elements, each `times`, which is a multiple of 4. */
function takeRepeated(from: usize, count: i32, times: i32, to: usize): void {
  for (; count > 0; count--) {
    const v = v128.load32_splat(from);
    from += 4;
    for (const last = to + (<usize>times << 2); to < last; to += 16) v128.store(to, v);
  }
}

/** Outer indices N0, COLS; of each the places K0, KS of the list at B: `inner` elements each. */
export function take(job: usize, program: usize, record: usize): void {
  const size = load<i32>(program, PROGRAM_K), inner = <usize>load<i32>(program, PROGRAM_INNER) << 2, count = load<i32>(program, PROGRAM_TAPS);
  const n0 = load<i32>(record, RECORD_N0), k0 = load<i32>(record, RECORD_K0), k1 = k0 + load<i32>(record, RECORD_KS);
  const list = load<usize>(job, JOB_B), first = list + (<usize>k0 << 2), end = list + (<usize>k1 << 2);
  const times = inner == 4 && k1 > k0 ? timesEach(first, end) : 0, start = <usize>load<i32>(first) << 2;
  for (let index = n0; index < n0 + load<i32>(record, RECORD_COLS); index++) {
    const from = load<usize>(job, JOB_A) + <usize>(index * size) * inner;
    let to = load<usize>(job, JOB_C) + <usize>(index * count + k0) * inner;
    if (times == 2) takeDoubled(from + start, (k1 - k0) >> 1, to);
    else if (times) takeRepeated(from + start, (k1 - k0) / times, times, to);
    else if (inner == 4) takeSingles(from, first, end, to);
    else {
      for (let i = k0; i < k1; i++) {
        copyRun(to, from + <usize>load<i32>(list + (<usize>i << 2)) * inner, inner);
        to += inner;
      }
    }
  }
}
