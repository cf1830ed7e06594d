/**
 * The one family of errors that the library throws. A caller branches on `code`, a person reads the message,
 * and `values` holds what was wrong as data.
 */

/** Every code that can be thrown, with what it means. The docs and a test read this list. */
export const ERROR_CODES = {
  E_ARGUMENT: 'an option or argument has the wrong type or an impossible value',
  E_SHAPE: 'ranks or extents do not fit together or are not non-negative integers',
  E_DTYPE: 'the element type is not one that the operation takes',
  E_DISPOSED: 'a tensor or prepacked operand was used after dispose()',
  E_CLOSED: 'the runtime was used after close(), or closed while the call was running',
  E_FOREIGN: 'a tensor belongs to another runtime',
  E_MEMORY: 'the memory that the call needs is not there; nothing was changed',
  E_FALLBACK: 'policy is strict and something less than asked for would have been used',
  E_KERNEL: 'a kernel trapped; the call failed, the runtime still works',
  E_WORKER_DIED: 'a worker thread ended while it was computing; the runtime replaced it',
  E_WORKER_TIMEOUT: 'a worker thread made no progress in time; the runtime replaced it',
  E_WISDOM: 'stored plans are corrupt, stale or made on another machine; nothing was imported',
  E_GPU: 'there is no GPU to use, or the device refused what it was given',
  E_GPU_LOST: 'the GPU went away; what lay only on it is gone, the runtime works on',
  E_GPU_MEMORY: 'the GPU has too little memory, or binds less in one buffer than the call needs',
  E_LOCATION: 'the bytes of a tensor lie on the GPU only; await tensor.read() first',
  E_MODEL: 'a model is damaged, too large, or of types and operators that are not run',
  E_WASM_BYTES: 'the option wasm names what is no WebAssembly, or that of another version',
  E_ENGINE: 'the JavaScript engine lacks something that the library cannot do without',
} as const;

export type ErrorCode = keyof typeof ERROR_CODES;

/**
 * @example
 * try { await rt.matmul(a, b); }
 * catch (e) { if (e instanceof TesseraeError && e.code === 'E_SHAPE') console.log(e.values, e.hint); }
 */
export class TesseraeError extends Error {
  readonly code: ErrorCode;
  /** The offending values, by name. */
  readonly values: Readonly<Record<string, unknown>>;
  /** What to do about it. */
  readonly hint: string;

  constructor(
    code: ErrorCode,
    message: string,
    values: Readonly<Record<string, unknown>>,
    hint: string,
    cause?: unknown,
  ) {
    super(`${message} (${code}). ${hint}`, cause === undefined ? undefined : { cause });
    this.name = 'TesseraeError';
    this.code = code;
    this.values = values;
    this.hint = hint;
  }
}

/** The reason to reject with when `signal` fires: the caller's own reason, or the platform's AbortError. */
export function abortReason(signal: AbortSignal): unknown {
  return signal.reason ?? new DOMException('The operation was aborted', 'AbortError');
}
