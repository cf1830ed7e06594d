/** What a runtime and the threads that have joined it say to one another. Messages are small: elements lie in the memory that all see. */
import { ERROR_CODES, type ErrorCode, TesseraeError } from '../../core/errors.ts';
import type { DType, Progress, SharedRuntime, SharedTensor, Tensor } from '../tensor-types.ts';
import type { Runtime } from '../types.ts';

/**
 * Methods that a guest may call. Operations, with the place of their options among the arguments: they return promises, and their `...Sync`
 * forms let the guest sleep while the same is done, for the runtime's own thread is not blocked for a guest. Others that return promises,
 * and those that answer at once.
 */
export const OPERATIONS = {
  ...{ matmul: 2, conv2d: 2, conv1d: 2, convTranspose2d: 2, maxPool2d: 2, averagePool2d: 2, globalPool2d: 2 },
  ...{ unary: 2, binary: 3, where: 3, reduce: 2, softmax: 1, layerNorm: 1, transpose: 2 },
  ...{ matmulInteger: 2, qlinearMatmul: 2, matmulDynamic: 2, convInteger: 2, qlinearConv: 2 },
  ...{ prepare: 1, tune: 1, measureMachine: 0 },
} as const satisfies Partial<Record<keyof Runtime, number>>;
export const AWAITED = ['settle', 'pause'] as const;
export const BLOCKING = [
  ...(['prepack', 'prepackInteger', 'quantizeDynamic', 'explain', 'memory', 'budget', 'resume'] as const),
  ...(['wisdom.list', 'wisdom.export', 'wisdom.import', 'wisdom.clear', 'info'] as const),
];

/** A tensor of the runtime, or weights that it keeps, as the client knows it. */
export type Reference =
  | {
      readonly $: 'tensor';
      readonly id: number;
      readonly address: number;
      readonly shape: readonly number[];
      readonly dtype: DType;
    }
  | {
      readonly $: 'prepacked';
      readonly id: number;
      readonly shape: readonly number[];
      readonly bytes: number;
    };

export interface PlainError {
  readonly code: string | undefined;
  readonly message: string;
  readonly hint: string;
  readonly values: Readonly<Record<string, unknown>>;
}

export interface CallMessage {
  readonly type: 'call';
  readonly id: number;
  readonly method: string;
  readonly args: readonly unknown[];
  /** Whether the caller sleeps until the answer is in its mailbox. */
  readonly blocks: boolean;
  readonly wantsProgress: boolean;
}

export type ToOwner =
  | CallMessage
  | { readonly type: 'abort'; readonly id: number }
  | { readonly type: 'release'; readonly ids: readonly number[] }
  /** The guest holds the lock by which its end is heard of, where ports do not tell. */
  | { readonly type: 'alive' }
  | { readonly type: 'close' };

export type Answer = { readonly value: unknown } | { readonly error: PlainError };

export type ToGuest =
  | { readonly type: 'answer'; readonly id: number; readonly answer: Answer }
  | { readonly type: 'progress'; readonly id: number; readonly progress: Progress }
  | { readonly type: 'closed' };

/** Words of a client's mailbox in the memory, for answers to calls that block. */
export const MAILBOX = { SEQUENCE: 0, ADDRESS: 4, BYTES: 8, BEAT: 12, TEXT: 64 } as const;
/** With room for the text of usual answers, and of the error that says that there is no memory for a longer one. */
export const MAILBOX_BYTES = 4096;

/** Runtimes of this thread, by their numbers. */
export const ownRuntimes = new Set<string>();

/** Whoever keeps the books of what is shared. */
export interface Sharer {
  share(): SharedRuntime;
  send(tensor: Tensor<DType>): SharedTensor;
  adopt(handle: SharedTensor): Tensor<DType>;
  close(): void;
}

export function plainError(error: unknown): PlainError {
  if (!(error instanceof TesseraeError)) {
    const message = error instanceof Error ? error.message : String(error);
    return { code: undefined, message, hint: '', values: {} };
  }
  const { code, hint, message, values } = error;
  const end = ` (${code}). ${hint}`;
  const plain = message.endsWith(end) ? message.slice(0, -end.length) : message;
  return { code, message: plain, hint, values: plainValues(values) };
}

/** What of an error's values can be posted. */
function plainValues(values: TesseraeError['values']): PlainError['values'] {
  try {
    return JSON.parse(toText(values)) as PlainError['values'];
  } catch {
    return {};
  }
}

export function errorFrom({ code, message, hint, values }: PlainError): Error {
  return code !== undefined && code in ERROR_CODES
    ? new TesseraeError(code as ErrorCode, message, values, hint)
    : new Error(message);
}

/** JSON, with the numbers that it lacks. */
export function toText(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) =>
    typeof part === 'number' && !Number.isFinite(part) ? { $: 'number', text: String(part) } : part,
  );
}

export function fromText(text: string): unknown {
  return JSON.parse(text, (_, part: unknown) =>
    typeof part === 'object' && part !== null && '$' in part && part.$ === 'number'
      ? Number((part as unknown as { text: string }).text)
      : part,
  );
}

/** Replaces parts of arguments or results: arrays and plain objects are looked through, everything else is as it is. */
export function mapParts(value: unknown, replace: (part: unknown) => unknown): unknown {
  const replaced = replace(value);
  if (replaced !== value) return replaced;
  if (Array.isArray(value)) return value.map((part) => mapParts(part, replace));
  if (typeof value !== 'object' || value === null) return value;
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, mapParts(part, replace)]));
}

export function isReference(value: unknown): value is Reference {
  if (typeof value !== 'object' || value === null || !('$' in value)) return false;
  return value.$ === 'tensor' || value.$ === 'prepacked';
}
