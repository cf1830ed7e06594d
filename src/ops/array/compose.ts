/**
 * Moves of what moves have put together: each reads what those have read, and what nobody reads any more is not moved at all. Shuffled
 * channels (Zhang et al., "ShuffleNet", 2017) are four parts of two images then, where they were joined, reordered and taken apart before.
 */
import type { Address } from '../../backends/types.ts';
import { sizeOf } from '../../core/shape.ts';
import { denseStrides } from '../../core/strided.ts';
import { type MoveProblem, moveProblem } from '../../problem/move.ts';
import type { Execution } from '../../schedule/execute.ts';
import type { Tape, TapeStep } from '../tape.ts';

/** More moves than this in the place of one would take longer than it. */
const MOST_PIECES = 8;

/** Operands of a step that are addresses of values. */
const ADDRESSES = ['a', 'b', 'c', 'c0', 'bias', 'slope', 'quantized'] as const;

/** A number for what lies at each address of a step when it is run; undefined for none, and for memory of others, which no step writes. */
type Contents = Readonly<Partial<Record<(typeof ADDRESSES)[number], number | undefined>>>;

/** What a tape holds, as far as it matters here. */
interface Recording {
  readonly steps: readonly TapeStep[];
  /** Of each step. */
  readonly contents: readonly Contents[];
  /** Contents that are read after the last step. */
  readonly wanted: ReadonlySet<number>;
  plan(problem: MoveProblem): Execution;
}

/** A move as it is made: extents, elements from step to step on both sides, and where both begin, in elements of memory. */
interface Box {
  /** What it reads. */
  readonly content: number | undefined;
  readonly extents: readonly number[];
  readonly from: readonly number[];
  readonly to: readonly number[];
  readonly a: number;
  readonly c: number;
}

type Side = 'from' | 'to';

interface Range {
  readonly low: number;
  /** Behind the last element. */
  readonly high: number;
}

/** The step of the recording that a write is, and what it writes; undefined for what is no move. */
interface Write {
  readonly at: number;
  readonly boxes: readonly Box[] | undefined;
}

function isMove({ execution }: TapeStep): boolean {
  return execution.problem.op === 'move';
}

function boxOf({ execution: { problem }, operands }: TapeStep, content: number | undefined): Box | undefined {
  if (problem.op !== 'move') return undefined;
  const { extents, strides } = problem as MoveProblem;
  const [from, to] = strides as readonly [readonly number[], readonly number[]];
  return { content, extents, from, to, a: operands.a / 4, c: operands.c / 4 };
}

function rangeOf({ extents, a, c, ...box }: Box, side: Side): Range {
  const start = side === 'from' ? a : c;
  const ends = extents.map((extent, axis) => box[side][axis]! * (extent - 1));
  const low = start + ends.reduce((sum, end) => sum + Math.min(0, end), 0);
  return { low, high: start + ends.reduce((sum, end) => sum + Math.max(0, end), 1) };
}

/** Steps `first` up to `end` along an axis. */
function slice(box: Box, axis: number, first: number, end: number): Box {
  const extents = box.extents.with(axis, end - first);
  return { ...box, extents, a: box.a + first * box.from[axis]!, c: box.c + first * box.to[axis]! };
}

/** A box in pieces of which none reaches over one of the bounds on one side; undefined where that takes too many, or it goes backwards. */
function cut(box: Box, side: Side, bounds: readonly number[]): readonly Box[] | undefined {
  if (box[side].some((stride) => stride < 0)) return undefined;
  const done: Box[] = [];
  const open = [box];
  for (let piece = open.pop(); piece; piece = open.pop()) {
    const { low, high } = rangeOf(piece, side);
    const bound = bounds.find((one) => one > low && one < high);
    if (bound === undefined) {
      if (done.push(piece) > MOST_PIECES) return undefined;
      continue;
    }
    const strides = piece[side].map((stride, axis) => (piece.extents[axis]! > 1 ? stride : 0));
    const axis = strides.indexOf(Math.max(...strides));
    const extent = piece.extents[axis]!;
    // how far what is at one step of the axis reaches
    const width = high - low - strides[axis]! * (extent - 1);
    const fitting = Math.floor((bound - low - width) / strides[axis]!) + 1;
    // where the bound lies within the first step that one is cut along its other extents
    const at = Math.min(extent - 1, Math.max(1, fitting));
    open.push(slice(piece, axis, at, extent), slice(piece, axis, 0, at));
    if (open.length > 2 * MOST_PIECES) return undefined;
  }
  return done;
}

function isRun({ extents, from, to }: Box): boolean {
  return extents.length === 1 && (extents[0] === 1 || (from[0] === 1 && to[0] === 1));
}

/** Whether it writes one element behind the other, in the order of its extents. */
function isDense({ extents, to }: Box): boolean {
  const dense = denseStrides(extents);
  return extents.every((extent, axis) => extent === 1 || to[axis] === dense[axis]);
}

/** A move of what one other, which is dense, has written: undefined where its steps do not lie along single extents of the other. */
function throughOne(box: Box, part: Box): Box | undefined {
  const units = denseStrides(part.extents);
  let rest = box.a - part.c;
  // the place in each extent of the other that is read first, and the furthest
  const places = units.map((unit) => {
    const place = Math.floor(rest / unit);
    rest -= place * unit;
    return place;
  });
  const furthest = [...places];
  const from = box.from.map((stride, axis) => {
    const along = units.findIndex((unit) => stride >= unit && stride % unit === 0);
    if (along < 0) return 0;
    const steps = stride / units[along]!;
    furthest[along]! += steps * (box.extents[axis]! - 1);
    return steps * part.from[along]!;
  });
  if (furthest.some((place, axis) => place >= part.extents[axis]!)) return undefined;
  const a = places.reduce((sum, place, axis) => sum + place * part.from[axis]!, part.a);
  return { ...box, content: part.content, from, a };
}

/** What a move reads was written by others that are dense: it reads what those did. */
function throughParts(box: Box, parts: readonly Box[]): readonly Box[] | undefined {
  const ranges = parts.map((part) => rangeOf(part, 'to'));
  const bounds = ranges.flatMap(({ low, high }) => [low, high]).sort((x, y) => x - y);
  const pieces = cut(box, 'from', bounds)?.map((piece) => {
    const { low, high } = rangeOf(piece, 'from');
    const [part, ...more] = parts.filter((_, i) => low >= ranges[i]!.low && high <= ranges[i]!.high);
    return part && more.length === 0 ? throughOne(piece, part) : undefined;
  });
  return pieces?.every((piece) => piece !== undefined) ? pieces : undefined;
}

/** A run of what others have put together in any order: they write it where it goes. */
function intoRun(run: Box, parts: readonly Box[]): readonly Box[] | undefined {
  const { low, high } = rangeOf(run, 'from');
  const pieces: Box[] = [];
  for (const part of parts) {
    const cuts = cut(part, 'to', [low, high]);
    if (!cuts) return undefined;
    for (const piece of cuts) {
      const range = rangeOf(piece, 'to');
      if (range.low >= low && range.high <= high) pieces.push({ ...piece, c: piece.c - run.a + run.c });
    }
  }
  const elements = pieces.reduce((sum, { extents }) => sum + sizeOf(extents), 0);
  return elements === high - low ? pieces : undefined;
}

/** A step that is left, which one of the recording it was, and what it touches. */
interface ComposedStep {
  readonly step: TapeStep;
  readonly at: number;
  readonly contents: Contents;
}

/** Contents that a step reads; what is no move may add to what lies where it writes. */
function readBy({ step, contents }: ComposedStep): ReadonlySet<number> {
  return new Set(
    isMove(step) ? [contents.a ?? []].flat() : ADDRESSES.flatMap((name) => contents[name] ?? []),
  );
}

class Composer {
  readonly #recording: Recording;
  /** Writes of a content so far, in their order. */
  readonly #writes = new Map<number, Write[]>();
  /** Contents that only moves write and read. */
  readonly #passing: ReadonlySet<number>;

  constructor(recording: Recording) {
    this.#recording = recording;
    const { steps, contents, wanted } = recording;
    const all = steps.map((step, at) => ({ step, at, contents: contents[at]! }));
    const others = new Set(all.flatMap((one) => (isMove(one.step) ? [] : [...readBy(one)])));
    const written = new Set(contents.flatMap(({ c }) => c ?? []));
    this.#passing = new Set([...written].filter((content) => !others.has(content) && !wanted.has(content)));
  }

  steps(): ComposedStep[] {
    const all = this.#recording.steps.flatMap((step, at) => this.#composed(step, at));
    const readers = new Map<number, number>();
    const count = (one: ComposedStep, by: number) => {
      for (const content of readBy(one)) readers.set(content, (readers.get(content) ?? 0) + by);
    };
    for (const one of all) count(one, 1);
    // from the last on, so that what only served a move that went goes as well
    const isLeft = (one: ComposedStep) => {
      const { c } = one.contents;
      if (c === undefined || this.#recording.wanted.has(c) || readers.get(c)) return true;
      if (isMove(one.step)) count(one, -1);
      return !isMove(one.step);
    };
    return all.toReversed().filter(isLeft).reverse();
  }

  /** The moves in a step's place. */
  #composed(step: TapeStep, at: number): readonly ComposedStep[] {
    const contents = this.#recording.contents[at]!;
    const box = boxOf(step, contents.a);
    const through = box && this.#through(box, contents.c);
    if (contents.c !== undefined) {
      const boxes = through ?? (box && [box]);
      this.#writes.set(contents.c, [...(this.#writes.get(contents.c) ?? []), { at, boxes }]);
    }
    if (!through) return [{ step, at, contents }];
    return through.map(({ extents, from, to, a, c, content }) => {
      const execution = this.#recording.plan(moveProblem(extents, from, to));
      const operands = { ...step.operands, a: 4 * a, c: 4 * c };
      return { step: { ...step, execution, operands }, at, contents: { a: content, c: contents.c } };
    });
  }

  #through(box: Box, result: number | undefined): readonly Box[] | undefined {
    const { content: read } = box;
    if (read === undefined || !this.#passing.has(read)) return undefined;
    const parts: Box[] = [];
    for (const { at: then, boxes } of this.#writes.get(read) ?? []) {
      if (!boxes?.every(({ content }) => this.#isAsBefore(content, then))) return undefined;
      parts.push(...boxes);
    }
    const made = isRun(box)
      ? intoRun(box, parts)
      : parts.every(isDense)
        ? throughParts(box, parts)
        : undefined;
    const isSafe = made?.every(({ content }) => content === undefined || content !== result);
    return isSafe && made!.length <= MOST_PIECES ? made : undefined;
  }

  /** Whether nothing was written since a step to what it read. */
  #isAsBefore(content: number | undefined, then: number): boolean {
    const last = content === undefined ? undefined : this.#writes.get(content)?.at(-1);
    return last === undefined || last.at < then;
  }
}

interface Place {
  readonly base: Address;
  readonly bytes: number;
}

interface Span extends Place {
  first: number;
  last: number;
}

/** The first and the last step at which something lies in its place. */
function spansOf(
  steps: readonly ComposedStep[],
  placeOf: (address: Address) => Place,
): ReadonlyMap<number, Span> {
  const spans = new Map<number, Span>();
  for (const { step, at, contents } of steps)
    for (const name of ADDRESSES) {
      const content = contents[name];
      if (content === undefined) continue;
      const span = spans.get(content) ?? { ...placeOf(step.operands[name]!), first: at, last: at };
      span.last = at;
      spans.set(content, span);
    }
  return spans;
}

/** Steps over memory in which nothing is overwritten that is still read: contents that a later one follows too early go elsewhere. */
function withRoom(
  steps: readonly ComposedStep[],
  placeOf: (address: Address) => Place,
  allocate: (bytes: number) => Address,
): TapeStep[] {
  const extra: (Place & { until: number })[] = [];
  const room = ({ bytes, first, last }: Span): Address => {
    const free = extra.find((one) => one.bytes >= bytes && one.until < first);
    const place = free ?? { base: allocate(bytes), bytes, until: last };
    if (!free) extra.push(place);
    place.until = last;
    return place.base;
  };
  const moved = new Map<number, number>();
  const next = new Map<Address, Span>();
  const spans = [...spansOf(steps, placeOf)].sort(([, one], [, other]) => other.first - one.first);
  for (const [content, span] of spans) {
    const after = next.get(span.base);
    if (after && after.first <= span.last) moved.set(content, span.base);
    else next.set(span.base, span);
  }
  // from the first on, so that one place serves several after one another
  for (const [content, span] of spans.toReversed())
    if (moved.has(content)) moved.set(content, room(span) - span.base);
  return steps.map(({ step, contents }) => {
    const places = ADDRESSES.flatMap((name) => {
      const by = moved.get(contents[name] ?? Number.NaN);
      return by === undefined ? [] : [[name, step.operands[name]! + by]];
    });
    return places.length === 0
      ? step
      : { ...step, operands: { ...step.operands, ...Object.fromEntries(places) } };
  });
}

/** Numbers for what lies in memory while steps are run, and after the last. */
function contentsOf(tape: Tape): {
  readonly contents: readonly Contents[];
  after(address: Address): number | undefined;
} {
  const current = new Map<Address, { birth: number; content: number }>();
  let made = 0;
  const at = (address: Address | undefined, step: number): number | undefined => {
    const base = address ? tape.blockOf(address)?.base : undefined;
    if (base === undefined) return undefined;
    const births = tape.birthsOf(base);
    const now = current.get(base) ?? { birth: 0, content: made++ };
    current.set(base, now);
    while (births[now.birth + 1]! <= step) Object.assign(now, { birth: now.birth + 1, content: made++ });
    return now.content;
  };
  const contents = tape.steps.map(({ operands }, step) =>
    Object.fromEntries(
      ADDRESSES.flatMap((name) => {
        const content = at(operands[name], step);
        return content === undefined ? [] : [[name, content]];
      }),
    ),
  );
  return { contents, after: (address) => at(address, tape.steps.length) };
}

/** Makes of what a tape moves several times single moves, before its first replay; `wanted` is read after the last step. */
export function composeMoves(
  tape: Tape,
  wanted: readonly Address[],
  plan: (problem: MoveProblem) => Execution,
): void {
  const { steps } = tape;
  if (steps.filter(isMove).length < 2) return;
  const { contents, after } = contentsOf(tape);
  const last = new Set(wanted.flatMap((address) => after(address) ?? []));
  const composed = new Composer({ steps, contents, wanted: last, plan }).steps();
  const placeOf = (address: Address) => tape.blockOf(address)!;
  tape.replace(withRoom(composed, placeOf, (bytes) => tape.newBlock(bytes)));
}
