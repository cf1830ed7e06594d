/** Kernels that the caller brings, in place of those in the code: files of his own server, modules that were compiled before. */
import { TesseraeError } from '../../core/errors.ts';
import { inNode, node } from '../../core/node.ts';
import { KERNELS } from '../../kernels/table.ts';
import { compile } from './embedded.ts';
import type { ModuleName } from './module.ts';

/** A file by its URL, what a server answered, bytes, or a WebAssembly.Module. Modules and responses are only called objects here, for not every
 *  set of types knows them. */
export type WasmSource = string | URL | ArrayBuffer | ArrayBufferView | object;

const MAGIC = [0x00, 0x61, 0x73, 0x6d];

function refused(
  name: ModuleName,
  what: string,
  values: object,
  hint: string,
  cause?: unknown,
): TesseraeError {
  return new TesseraeError('E_WASM_BYTES', `wasm.${name} ${what}`, { name, ...values }, hint, cause);
}

/** @throws `E_WASM_BYTES` for what is no WebAssembly, or that of another version. */
export async function givenModule(name: ModuleName, source: WasmSource): Promise<WebAssembly.Module> {
  const module =
    source instanceof WebAssembly.Module
      ? source
      : await compile(checkBytes(name, await bytesOf(name, source)));
  const exported = new Set(WebAssembly.Module.exports(module).map((one) => one.name));
  const missing = KERNELS.find(({ feature, name: kernel }) => feature === name && !exported.has(kernel));
  if (!missing) return module;
  throw refused(
    name,
    `has no kernel ${missing.name}`,
    { kernel: missing.name },
    'The files must be of the same version as the code: write them anew from embeddedWasm().',
  );
}

interface Named {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly from: string;
}

async function bytesOf(name: ModuleName, source: WasmSource): Promise<Named> {
  if (source instanceof ArrayBuffer) return { bytes: new Uint8Array(source), from: 'bytes' };
  if (ArrayBuffer.isView(source)) {
    const { buffer, byteOffset, byteLength } = source;
    return { bytes: new Uint8Array(buffer, byteOffset, byteLength).slice(), from: 'bytes' };
  }
  const answered = await (typeof source === 'string' || source instanceof URL
    ? fetched(name, source)
    : source);
  if (!(answered instanceof Response)) return answered as Named;
  const from = answered.url || 'a response';
  if (answered.ok) return { bytes: new Uint8Array(await answered.arrayBuffer()), from };
  throw refused(
    name,
    `was not found: ${from} answered ${answered.status}`,
    { from, status: answered.status },
    'Check the URL.',
  );
}

/** Node's fetch takes no files. */
async function fetched(name: ModuleName, source: string | URL): Promise<Response | Named> {
  const from = String(source);
  try {
    if (!inNode() || !from.startsWith('file:')) return await fetch(source);
    const buffer = await node('node:fs/promises').readFile(new URL(from));
    return { bytes: new Uint8Array(buffer), from };
  } catch (cause) {
    throw refused(
      name,
      `could not be had from ${from}`,
      { from },
      'Check the URL, and whether the server may be asked from here.',
      cause,
    );
  }
}

function checkBytes(name: ModuleName, { bytes, from }: Named): Uint8Array<ArrayBuffer> {
  if (MAGIC.every((byte, i) => bytes[i] === byte)) return bytes;
  const start = [...bytes.subarray(0, 4)].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
  const text = new TextDecoder().decode(bytes.subarray(0, 64)).trimStart().toLowerCase();
  const isPage = text.startsWith('<!doctype') || text.startsWith('<html');
  throw refused(
    name,
    `from ${from} is no WebAssembly: it begins with ${start || 'nothing'}${isPage ? ', and looks like an HTML page' : ''}`,
    { from, start },
    isPage
      ? 'The server has no such file and sends its start page instead: put the file where the URL says.'
      : 'Pass the file as it was built.',
  );
}
