/**
 * Wisdom: measured plans that outlive the process. It is distrusted: signed over everything that decides a plan's
 * speed, checked whole before one entry of it is used, and refused whole if anything is wrong. Wrong wisdom costs a
 * new plan and never a crash. The habits are FFTW's (`kernel/planner.c`): a signature, effort recorded with
 * each plan, better effort replaces worse, import as a transaction.
 *
 * The text: a header line, then JSON lines, sorted so that equal tables give equal texts.
 *
 *     {"format":"tesserae-wisdom","schema":3,"signature":"...","entries":1,"checksum":"..."}
 *     {"machine":{...}}                                                  at most one, optional
 *     {"gpu":"its name","profile":{...}}                                 one for each GPU that was probed
 *     {"key":"...","plan":{...},"effort":"measure","ms":1.25,"at":...}   one per problem
 */
import { TesseraeError } from '../core/errors.ts';
import { hashText } from '../core/hash.ts';
import { CONV_ALGORITHMS } from '../problem/conv.ts';
import { type GpuProfile, gpuFault } from './gpu.ts';
import {
  type FieldChecks,
  fieldFault,
  isQuantity,
  isRecord,
  type MachineProfile,
  machineFault,
} from './machine.ts';
import { type Effort, type Plan, samePlan } from './plan.ts';
import type { WisdomStore } from './stores/types.ts';

/** Goes up with any change of the text's or a plan's meaning; old wisdom is then refused. */
export const WISDOM_SCHEMA = 3;
const FORMAT = 'tesserae-wisdom';

/** Programs meet hundreds of problems. These bounds only keep a runaway caller or a foreign file from hurting. */
export const MAX_ENTRIES = 20_000;
const MAX_CHARS = 64 * 2 ** 20;
const MAX_KEY = 512;

const RANK: Readonly<Record<Effort, number>> = { estimate: 0, measure: 1, exhaustive: 2 };

export interface WisdomEntry {
  readonly plan: Plan;
  readonly effort: Effort;
  /** Measured milliseconds; undefined for a plan that was only estimated. */
  readonly ms?: number | undefined;
  /** When, in milliseconds since 1970. */
  readonly at: number;
}

export interface WisdomListing extends WisdomEntry {
  readonly key: string;
}

/** Says why a well-formed plan cannot be used here (unknown kernel, too many threads), or undefined if it can. */
export type PlanValidator = (plan: Plan) => string | undefined;

/** Hears why stored plans were not used, and where they came from. */
export type OnRefused = (reason: string, source: string) => void;

interface Table {
  readonly entries: ReadonlyMap<string, WisdomEntry>;
  readonly machine: MachineProfile | undefined;
  readonly gpus: ReadonlyMap<string, GpuProfile>;
}

function isOneOf(...names: readonly string[]): (value: unknown) => boolean {
  return (value) => typeof value === 'string' && names.includes(value);
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 1;
}

function isName(value: unknown): boolean {
  return typeof value === 'string' && value.length > 0 && value.length <= MAX_KEY;
}

// One check per field, by the compiler's own list: a new field of Plan does not compile until it is checked here.
const PLAN_FIELDS: FieldChecks<Plan> = {
  backend: isOneOf('wasm', 'webgpu', 'reference', 'null'),
  kernel: isName,
  algorithm: isOneOf(...CONV_ALGORITHMS, 'fixed'),
  packing: isOneOf('ab', 'b', 'none'),
  mc: isCount,
  kc: isCount,
  nc: isCount,
  order: isOneOf('mn', 'nm'),
  threads: isCount,
  share: (value) => value === undefined || (isQuantity(value) && (value as number) < 1),
};

const ENTRY_FIELDS: FieldChecks<WisdomListing> = {
  key: isName,
  plan: isRecord,
  effort: isOneOf('estimate', 'measure', 'exhaustive'),
  ms: (value) => value === undefined || isQuantity(value),
  at: isQuantity,
};

/** Why `value` is not shaped like an entry, or undefined. */
function entryFault(value: unknown): string | undefined {
  const fault = fieldFault(value, ENTRY_FIELDS, 'entry');
  if (fault !== undefined) return fault;
  return fieldFault((value as WisdomListing).plan, PLAN_FIELDS, 'plan');
}

function refuse(reason: string, values: Readonly<Record<string, unknown>>, hint: string): never {
  throw new TesseraeError('E_WISDOM', `wisdom refused: ${reason}`, { reason, ...values }, hint);
}

const DAMAGED = 'The text is damaged; export it again, or delete it: plans will be measured anew.';
const FOREIGN =
  'Plans only fit the machine, engine and library version that measured them; measure again here.';

// ---- text ---------------------------------------------------------------------------------------------------

function headerLine(signature: string, entries: number, body: string): string {
  const head = { format: FORMAT, schema: WISDOM_SCHEMA, signature, entries };
  // The checksum covers the header too; JSON leaves no line break in it, so the border is unambiguous.
  return JSON.stringify({ ...head, checksum: hashText(`${JSON.stringify(head)}\n${body}`) });
}

function listed(entries: ReadonlyMap<string, WisdomEntry>): WisdomListing[] {
  const keys = [...entries.keys()].sort();
  return keys.flatMap((key) => {
    const entry = entries.get(key);
    return entry === undefined ? [] : [{ key, ...entry }];
  });
}

function encode(table: Table, signature: string): string {
  const records = table.machine === undefined ? [] : [JSON.stringify({ machine: table.machine })];
  for (const [gpu, profile] of [...table.gpus].sort(([a], [b]) => (a < b ? -1 : 1)))
    records.push(JSON.stringify({ gpu, profile }));
  for (const { key, plan, effort, ms, at } of listed(table.entries)) {
    records.push(JSON.stringify({ key, plan, effort, ms, at }));
  }
  const body = records.map((line) => `${line}\n`).join('');
  return `${headerLine(signature, table.entries.size, body)}\n${body}`;
}

function parseLine(line: string, number: number): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    // Falls through to the refusal below: text that is no JSON and JSON that is no object are the same fault.
  }
  return isRecord(value) ? value : refuse(`line ${number} is not a JSON object`, { line: number }, DAMAGED);
}

/** Returns the body once the header vouches for it: format, schema, signature, then every byte by the checksum. */
function checkedBody(text: string, signature: string): { readonly body: string; readonly count: number } {
  if (text.length > MAX_CHARS) refuse('it is too large', { chars: text.length, most: MAX_CHARS }, DAMAGED);
  const border = text.indexOf('\n');
  if (border < 0) refuse('it has no complete header line', { chars: text.length }, DAMAGED);
  const line = text.slice(0, border);
  const { format, schema, signature: found, entries } = parseLine(line, 1);
  if (format !== FORMAT) refuse('it is not a wisdom file', { format }, DAMAGED);
  if (schema !== WISDOM_SCHEMA)
    refuse('it has another schema', { found: schema, expected: WISDOM_SCHEMA }, FOREIGN);
  if (found !== signature) refuse('it has another signature', { found, expected: signature }, FOREIGN);
  const body = text.slice(border + 1);
  if (typeof entries !== 'number' || line !== headerLine(signature, entries, body)) {
    refuse('its checksum does not fit: torn or changed', { chars: text.length }, DAMAGED);
  }
  return { body, count: entries };
}

/** What the text of each signature said that was read or written last: programs make sessions in a row, and checking takes milliseconds. */
const known = new Map<string, { readonly text: string; readonly table: Table }>();

/** All of the text or a thrown `E_WISDOM`: nothing is taken from a text with one bad entry. */
function decode(text: string, signature: string, isPlanValid: PlanValidator): Table {
  const last = known.get(signature);
  const table = last?.text === text ? last.table : parse(text, signature);
  for (const [key, { plan }] of table.entries) {
    const unusable = isPlanValid(plan);
    if (unusable !== undefined) refuse(`${key}: ${unusable}`, { key, plan }, FOREIGN);
  }
  known.set(signature, { text, table });
  return table;
}

function parse(text: string, signature: string): Table {
  const { body, count } = checkedBody(text, signature);
  const entries = new Map<string, WisdomEntry>();
  const gpus = new Map<string, GpuProfile>();
  let machine: MachineProfile | undefined;
  const lines = body.split('\n').slice(0, -1);
  for (const [i, text] of lines.entries()) {
    const line = i + 2;
    const record = parseLine(text, line);
    if (i === 0 && 'machine' in record) {
      const fault = machineFault(record.machine);
      if (fault !== undefined) refuse(`line ${line}: ${fault}`, { line }, DAMAGED);
      machine = record.machine as MachineProfile;
      continue;
    }
    if ('gpu' in record) {
      const { gpu, profile } = decodeGpu(record, line);
      gpus.set(gpu, profile);
      continue;
    }
    const fault = entryFault(record);
    if (fault !== undefined) refuse(`line ${line}: ${fault}`, { line, key: record.key }, DAMAGED);
    const { key, ...entry } = record as unknown as WisdomListing;
    if (entries.has(key)) refuse(`line ${line}: the key stands there twice`, { line, key }, DAMAGED);
    entries.set(key, frozen(entry));
  }
  const expected = entries.size;
  if (count !== expected || expected > MAX_ENTRIES)
    refuse('wrong number of entries', { count, expected }, DAMAGED);
  return { entries, machine, gpus };
}

function decodeGpu(
  record: Record<string, unknown>,
  line: number,
): { readonly gpu: string; readonly profile: GpuProfile } {
  const { gpu, profile } = record;
  const fault = isName(gpu) ? gpuFault(profile) : 'a GPU without a name';
  if (fault !== undefined) refuse(`line ${line}: ${fault}`, { line }, DAMAGED);
  return { gpu: gpu as string, profile: profile as GpuProfile };
}

// ---- table --------------------------------------------------------------------------------------------------

/** A copy of its own, so that a caller's later changes do not reach the table. */
function frozen({ plan, effort, ms, at }: WisdomEntry): WisdomEntry {
  return Object.freeze({ plan: Object.freeze({ ...plan }), effort, ms, at });
}

function reasonOf(error: unknown): string {
  if (error instanceof TesseraeError && typeof error.values.reason === 'string') return error.values.reason;
  return error instanceof Error ? error.message : String(error);
}

/**
 * The table of one configuration. The store is read at the first use; `save()` writes, and how often that happens
 * is the caller's business.
 *
 * Two processes that save at the same instant cannot tear the text, but the later may miss what the earlier wrote
 * between its own reading and writing; the earlier brings it back at its next `save()`.
 */
export class Wisdom {
  readonly signature: string;
  /** Where the table is kept, in words. */
  readonly source: string;
  readonly #store: WisdomStore | undefined;
  readonly #onRefused: OnRefused;
  readonly #isPlanValid: PlanValidator;
  #entries = new Map<string, WisdomEntry>();
  #machine: MachineProfile | undefined;
  /** Whether this process measured the machine itself: its own profile is then kept over a stored one. */
  #ownMachine = false;
  readonly #gpus = new Map<string, GpuProfile>();
  /** Plans given up by `forget`: another process's copy of one must not bring it back. */
  readonly #forgotten = new Map<string, Plan>();
  #loaded = false;
  #dirty = false;
  /** After `clear()`: what is stored is to go, so there is nothing to merge with. */
  #replaceAll = false;
  /** The last text seen in the store that is in the table already, and the last one refused. */
  #merged: string | undefined;
  #refused: string | undefined;

  constructor(
    store: WisdomStore | undefined,
    signature: string,
    onRefused: OnRefused = () => {},
    isPlanValid: PlanValidator = () => undefined,
  ) {
    this.#store = store;
    this.signature = signature;
    this.source = store?.name ?? 'none';
    this.#onRefused = onRefused;
    this.#isPlanValid = isPlanValid;
  }

  get size(): number {
    this.load();
    return this.#entries.size;
  }

  /** Whether `save()` has something to write. */
  get dirty(): boolean {
    return this.#dirty;
  }

  get machine(): MachineProfile | undefined {
    this.load();
    return this.#machine;
  }

  setMachine(profile: MachineProfile): void {
    this.load();
    const fault = machineFault(profile);
    if (fault !== undefined) refuse(fault, { profile }, 'This is a fault of whoever measured the machine.');
    this.#machine = profile;
    this.#ownMachine = true;
    this.#dirty = true;
  }

  /** What was found out about a GPU. */
  gpu(name: string): GpuProfile | undefined {
    this.load();
    return this.#gpus.get(name);
  }

  setGpu(name: string, profile: GpuProfile): void {
    this.load();
    const fault = isName(name) ? gpuFault(profile) : 'a GPU without a name';
    if (fault !== undefined) refuse(fault, { name, profile }, 'This is a fault of whoever measured the GPU.');
    this.#gpus.set(name, profile);
    this.#dirty = true;
  }

  /** Reads the store, once; done by itself at the first use. Never throws. */
  load(): void {
    if (this.#loaded) return;
    this.#loaded = true;
    let text: string | undefined;
    try {
      text = this.#store?.read();
      if (text !== undefined) this.#mergeText(text);
    } catch (error) {
      this.#refused = text;
      this.#onRefused(reasonOf(error), this.source);
    }
  }

  get(key: string): WisdomEntry | undefined {
    this.load();
    return this.#entries.get(key);
  }

  list(): readonly WisdomListing[] {
    this.load();
    return listed(this.#entries);
  }

  /** Whether the entry was taken: worse effort never replaces better, otherwise the newer one stays. */
  put(key: string, entry: WisdomEntry): boolean {
    this.load();
    const { plan, effort, ms, at } = entry;
    const fault = entryFault({ key, plan, effort, ms, at });
    if (fault !== undefined) refuse(fault, { key, entry }, 'This is a fault of whoever made the plan.');
    const old = this.#entries.get(key);
    if (old !== undefined && RANK[effort] < RANK[old.effort]) return false;
    const forgotten = this.#forgotten.get(key);
    if (forgotten !== undefined && samePlan(forgotten, plan)) this.#forgotten.delete(key);
    this.#entries.set(key, frozen(entry));
    this.#dirty = true;
    if (this.#entries.size > MAX_ENTRIES) this.#evict();
    return true;
  }

  /** Gives up a plan that proved unusable; the reason goes to the callback. False if there is none. */
  forget(key: string, reason: string): boolean {
    this.load();
    const entry = this.#entries.get(key);
    if (entry === undefined) return false;
    this.#entries.delete(key);
    this.#forgotten.set(key, entry.plan);
    this.#dirty = true;
    this.#onRefused(`${key}: ${reason}`, this.source);
    return true;
  }

  /** Resolves when what was saved is kept. */
  settle(): Promise<unknown> {
    return this.#store?.settle?.() ?? Promise.resolve();
  }

  /** Empties the table, profiles included; the next `save()` replaces what is stored without a look at it. */
  clear(): void {
    this.#loaded = true;
    this.#entries.clear();
    this.#forgotten.clear();
    this.#machine = undefined;
    this.#ownMachine = false;
    this.#gpus.clear();
    this.#replaceAll = true;
    this.#dirty = true;
  }

  export(): string {
    this.load();
    return encode({ entries: this.#entries, machine: this.#machine, gpus: this.#gpus }, this.signature);
  }

  /** Takes in a text made by `export()`: all or nothing. Returns how many of its entries changed the table. */
  import(text: string): number {
    this.load();
    const table = decode(text, this.signature, this.#isPlanValid);
    // What a person brings in by hand may bring back a plan that was given up.
    for (const key of table.entries.keys()) this.#forgotten.delete(key);
    const taken = this.#merge(table);
    this.#dirty = true;
    return taken;
  }

  /**
   * Merges with what another process stored meanwhile and writes. False if there was nothing to do. Throws what
   * the store throws, the table unharmed and still `dirty`. A text that is refused is set aside before it goes.
   */
  save(): boolean {
    if (this.#store === undefined || !this.#dirty) return false;
    if (!this.#replaceAll) this.#mergeStored(this.#store);
    const text = this.export();
    this.#store.write(text);
    const table = { entries: new Map(this.#entries), machine: this.#machine, gpus: new Map(this.#gpus) };
    known.set(this.signature, { text, table });
    this.#merged = text;
    this.#replaceAll = false;
    this.#dirty = false;
    return true;
  }

  #mergeStored(store: WisdomStore): void {
    const text = store.read();
    if (text === undefined || text === this.#merged) return;
    try {
      this.#mergeText(text);
    } catch (error) {
      if (text !== this.#refused) this.#onRefused(reasonOf(error), this.source);
      this.#refused = text;
      store.setAside?.(text);
    }
  }

  #mergeText(text: string): void {
    this.#merge(decode(text, this.signature, this.#isPlanValid));
    this.#merged = text;
  }

  #merge(table: Table): number {
    let taken = 0;
    for (const [key, entry] of table.entries) {
      const old = this.#entries.get(key);
      const gain = old === undefined ? 1 : RANK[entry.effort] - RANK[old.effort] || entry.at - old.at;
      const forgotten = this.#forgotten.get(key);
      if (gain <= 0 || (forgotten !== undefined && samePlan(forgotten, entry.plan))) continue;
      this.#entries.set(key, entry);
      taken++;
    }
    if (!this.#ownMachine) this.#machine = table.machine ?? this.#machine;
    // what is here already was measured or read earlier in this process
    for (const [name, profile] of table.gpus) if (!this.#gpus.has(name)) this.#gpus.set(name, profile);
    if (this.#entries.size > MAX_ENTRIES) this.#evict();
    return taken;
  }

  /** Drops a tenth, the cheapest to find again first: low effort, then old. A tenth, so that it is done rarely. */
  #evict(): void {
    const byWorth = [...this.#entries].sort(([, a], [, b]) => RANK[a.effort] - RANK[b.effort] || a.at - b.at);
    for (const [key] of byWorth.slice(0, byWorth.length - Math.floor(MAX_ENTRIES * 0.9)))
      this.#entries.delete(key);
  }
}
