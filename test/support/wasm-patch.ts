/**
 * Plants faults in WebAssembly modules: code in front of an exported function's body, or one instruction of it for
 * another. Knows just enough of the binary format (sections, LEB128, the code section) to put the sizes right again.
 */

type Bytes = Uint8Array<ArrayBuffer>;
/** Those of one runtime. */
type Modules = readonly Bytes[];

const SECTION = { import: 2, export: 7, code: 10 } as const;
const FUNCTION = 0;

/** Instructions to put in front of a body; the first parameter of a micro-kernel is its k. */
export const UNREACHABLE = [0x00];
export const RETURN = [0x0f];
/** What instructions on vectors begin with. */
const VECTOR_PREFIX = 0xfd;
/** Instructions of one length whose second gives a wrong sum. */
export const WRONG_SUMS = [
  { from: [VECTOR_PREFIX, 0xe4, 0x01], to: [VECTOR_PREFIX, 0xe5, 0x01] }, // f32x4.add, sub
  { from: [VECTOR_PREFIX, 0x85, 0x02], to: [VECTOR_PREFIX, 0x86, 0x02] }, // f32x4.relaxed_madd, relaxed_nmadd
] as const;

class Reader {
  readonly bytes: Uint8Array;
  at: number;

  constructor(bytes: Uint8Array, at = 0) {
    this.bytes = bytes;
    this.at = at;
  }

  u32(): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.bytes[this.at++]!;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value >>> 0;
    }
  }

  name(): string {
    const length = this.u32();
    this.at += length;
    return new TextDecoder().decode(this.bytes.subarray(this.at - length, this.at));
  }

  limits(): void {
    const flags = this.u32();
    this.u32();
    if (flags & 1) this.u32();
  }
}

function u32(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...u32(value >>> 7)];
}

/** Signed LEB128, for i32.const. */
function s32(value: number): number[] {
  return value >= -64 && value < 64 ? [value & 0x7f] : [(value & 0x7f) | 0x80, ...s32(value >> 7)];
}

/** `if (k == value) { code }` */
function whenK(value: number, code: readonly number[]): number[] {
  return [0x20, 0, 0x41, ...s32(value), 0x46, 0x04, 0x40, ...code, 0x0b];
}

export function trapWhenK(value: number): number[] {
  return whenK(value, UNREACHABLE);
}

/** Leaves the result as it was. */
export function returnWhenK(value: number): number[] {
  return whenK(value, RETURN);
}

/** `loop br 0 end`: V8 looks for a terminate request in every turn. */
export function hangWhenK(value: number): number[] {
  return whenK(value, [0x03, 0x40, 0x0c, 0, 0x0b]);
}

interface Section {
  readonly id: number;
  /** Content, without id and size. */
  readonly start: number;
  readonly end: number;
}

function sectionsOf(bytes: Uint8Array): Section[] {
  const reader = new Reader(bytes, 8);
  const sections: Section[] = [];
  while (reader.at < bytes.length) {
    const id = bytes[reader.at++]!;
    const size = reader.u32();
    sections.push({ id, start: reader.at, end: reader.at + size });
    reader.at += size;
  }
  return sections;
}

function importedFunctions(bytes: Uint8Array, sections: readonly Section[]): number {
  const section = sections.find(({ id }) => id === SECTION.import);
  if (!section) return 0;
  const reader = new Reader(bytes, section.start);
  let functions = 0;
  for (let left = reader.u32(); left > 0; left--) {
    reader.name();
    reader.name();
    const kind = bytes[reader.at++];
    if (kind === FUNCTION) {
      functions++;
      reader.u32();
    } else if (kind === 1) {
      reader.at++;
      reader.limits();
    } else if (kind === 2) reader.limits();
    else reader.at += 2;
  }
  return functions;
}

/** Where the code of each exported function begins (behind its locals) and ends. */
function exportedIndices(bytes: Uint8Array, sections: readonly Section[]): Map<string, number> {
  const reader = new Reader(bytes, sections.find(({ id }) => id === SECTION.export)!.start);
  const indices = new Map<string, number>();
  for (let left = reader.u32(); left > 0; left--) {
    const name = reader.name();
    const kind = bytes[reader.at++];
    const index = reader.u32();
    if (kind === FUNCTION) indices.set(name, index);
  }
  return indices;
}

/** A function's body: locals, code, end. */
type Change = (body: Uint8Array, codeStart: number, name: string) => ArrayLike<number>;

function codeStart(body: Uint8Array): number {
  const reader = new Reader(body);
  for (let left = reader.u32(); left > 0; left--) {
    reader.u32();
    reader.at++;
  }
  return reader.at;
}

/** Applies a change to the bodies of the named exports, each in the module that has it; throws for a name that none has. */
function changeBodies(modules: Modules, names: readonly string[], change: Change): Modules {
  const left = new Set(names);
  const changed = modules.map((bytes) => changeModule(bytes, left, change));
  if (left.size > 0) throw new Error(`no module exports a function ${[...left][0]}`);
  return changed;
}

/** Takes the names that it finds out of the set. */
function changeModule(bytes: Bytes, names: Set<string>, change: Change): Bytes {
  const sections = sectionsOf(bytes);
  const imported = importedFunctions(bytes, sections);
  const indices = exportedIndices(bytes, sections);
  const wanted = new Map<number, string>();
  for (const name of names) {
    const index = indices.get(name);
    if (index === undefined) continue;
    names.delete(name);
    wanted.set(index - imported, name);
  }
  const section = sections.find(({ id }) => id === SECTION.code)!;
  const reader = new Reader(bytes, section.start);
  const count = reader.u32();
  const content: Uint8Array[] = [Uint8Array.from(u32(count))];
  for (let index = 0; index < count; index++) {
    const size = reader.u32();
    const body = bytes.subarray(reader.at, reader.at + size);
    reader.at += size;
    const name = wanted.get(index);
    const next = name === undefined ? body : Uint8Array.from(change(body, codeStart(body), name));
    content.push(Uint8Array.from(u32(next.length)), next);
  }
  const length = content.reduce((sum, part) => sum + part.length, 0);
  const head = bytes.subarray(0, section.start - u32(section.end - section.start).length);
  return joined([head, Uint8Array.from(u32(length)), ...content, bytes.subarray(section.end)]);
}

function joined(parts: readonly Uint8Array[]): Bytes {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  if (!WebAssembly.validate(whole)) throw new Error('the patched module is not valid');
  return whole;
}

/** Puts instructions in front of the code of the named exports. */
export function prefixBodies(modules: Modules, names: readonly string[], code: readonly number[]): Modules {
  return changeBodies(modules, names, (body, start) => [
    ...body.subarray(0, start),
    ...code,
    ...body.subarray(start),
  ]);
}

/** Where a body adds, in the order of the text. */
function sumsIn(body: Uint8Array, start: number): { readonly at: number; readonly to: readonly number[] }[] {
  const sums = [];
  for (let at = body.indexOf(VECTOR_PREFIX, start); at >= 0; at = body.indexOf(VECTOR_PREFIX, at + 1)) {
    const sum = WRONG_SUMS.find(({ from }) => from.every((byte, i) => body[at + i] === byte));
    if (sum) sums.push({ at, to: sum.to });
  }
  return sums;
}

/**
 * Makes one multiply-add of each named kernel subtract: number `nth` in the text, counted from the end where it is negative.
 * `spoiled` names those that have so many.
 */
export function spoilSums(
  modules: Modules,
  names: readonly string[],
  nth = -1,
): { readonly bytes: Modules; readonly spoiled: readonly string[] } {
  const spoiled: string[] = [];
  const changed = changeBodies(modules, names, (body, start, name) => {
    const sum = sumsIn(body, start).at(nth);
    if (!sum) return body;
    spoiled.push(name);
    const wrong = body.slice();
    wrong.set(sum.to, sum.at);
    return wrong;
  });
  return { bytes: changed, spoiled };
}
