/** Kernels that the caller brings: every form that a file may come in, and what is no such file. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import test from 'tape';
import { loadModules } from '../../src/backends/wasm/embedded.ts';
import { nodeHost } from '../../src/backends/wasm/host-node.ts';
import { createRuntime, embeddedWasm, type RuntimeOptions } from '../../src/index.ts';
import { codeOf, failure } from '../support/faulty.ts';
import { wholeProduct, wrongAsync } from '../support/products.ts';

const product = wholeProduct(60, 50, 70);

async function faultWith(wasm: NonNullable<RuntimeOptions['wasm']>): Promise<string | undefined> {
  const rt = await createRuntime({ wasm, wisdom: false, threads: 1 });
  const fault = await wrongAsync(rt, product);
  await rt.close();
  return fault;
}

test('wasm: bytes, modules, files, servers', async (t) => {
  const { simd, relaxed } = await embeddedWasm();
  const folder = mkdtempSync(join(tmpdir(), 'tesserae-wasm-'));
  const file = join(folder, 'simd.wasm');
  writeFileSync(file, simd);
  const server = createServer((request, response) => {
    if (request.url === '/simd.wasm') response.end(simd);
    else if (request.url === '/none.wasm') response.writeHead(404).end('none');
    else response.setHeader('content-type', 'text/html').end('\n<!DOCTYPE html><title>start</title>');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const copy = simd.slice();
  const sources: Record<string, NonNullable<RuntimeOptions['wasm']>> = {
    bytes: { simd },
    'bytes of both': { simd, relaxed },
    'an ArrayBuffer': { simd: copy.buffer },
    'a module': { simd: await WebAssembly.compile(copy) },
    'a file': { simd: pathToFileURL(file) },
    'a URL in text': { simd: `${url}/simd.wasm` },
    'a response': { simd: await fetch(`${url}/simd.wasm`) },
    'one source': `${url}/simd.wasm`,
    'one URL': new URL(`${url}/simd.wasm`),
    'one of bytes': simd,
    'one module': await WebAssembly.compile(copy),
    'one response': await fetch(`${url}/simd.wasm`),
    'a response to come': { simd: fetch(`${url}/simd.wasm`) },
  };
  for (const [name, wasm] of Object.entries(sources)) t.equal(await faultWith(wasm), undefined, name);

  const page = String(await failure(faultWith({ simd: `${url}/other.wasm` })));
  t.match(page, /0a 3c 21 44, and looks like an HTML page \(E_WASM_BYTES\)/, page);
  t.match(String(await failure(faultWith({ simd: `${url}/none.wasm` }))), /answered 404 \(E_WASM_BYTES\)/);
  t.equal(
    await codeOf(faultWith({ simd: pathToFileURL(join(folder, 'none.wasm')) })),
    'E_WASM_BYTES',
    'no file',
  );
  t.equal(await codeOf(faultWith({ simd: new Uint8Array(0) })), 'E_WASM_BYTES', 'nothing');
  t.match(
    String(await failure(faultWith({ simd: Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0) }))),
    /has no kernel/,
    'another module',
  );
  t.equal(await codeOf(faultWith({ simd: simd.subarray(0, 1000) })), 'E_ENGINE', 'a part of one');
  t.equal(await codeOf(faultWith(Uint8Array.of(1, 2, 3))), 'E_WASM_BYTES', 'a source by itself is looked at');
  t.equal(await codeOf(faultWith(`${url}/none.wasm`)), 'E_WASM_BYTES', 'and asked for');
  for (const wasm of [5, null, {}, { simd: 5 }, { simd, other: simd }, { relaxed }])
    t.equal(
      await codeOf(faultWith(wasm as never)),
      'E_ARGUMENT',
      `refused: ${JSON.stringify(wasm)?.slice(0, 40)}`,
    );
  server.close();
  rmSync(folder, { recursive: true });
});

test('wasm: what is in the code is compiled once for each set of flags, and again where that failed', async (t) => {
  let inflated = 0;
  const counting = {
    inflate: (bytes: Uint8Array) => {
      inflated++;
      return nodeHost.inflate(bytes);
    },
  };
  const broken = { inflate: () => Uint8Array.of(0, 97, 115, 109) };
  const flags = ['--a-flag-of-this-test'];
  t.equal(await codeOf(loadModules(broken, flags)), 'E_ENGINE');
  const first = await loadModules(counting, flags);
  const once = inflated;
  t.ok(once > 0, 'a failure is not kept');
  t.equal(await loadModules(counting, flags), first);
  t.equal(inflated, once, 'nothing is inflated again');
  t.notEqual(await loadModules(counting, [...flags, '--another']), first, 'other flags, other code');
  t.equal(inflated, 2 * once);
  const runtimes = await Promise.all([0, 1].map(() => createRuntime({ wisdom: false, threads: 1 })));
  await runtimes[0]!.close();
  t.equal(await wrongAsync(runtimes[1]!, product), undefined, 'a runtime whose neighbour has gone');
  await runtimes[1]!.close();
});
